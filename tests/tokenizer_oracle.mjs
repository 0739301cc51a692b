// Compares our tokenizers with Hugging Face's own library, which npm carries prebuilt:
//   mkdir -p /tmp/oracle && (cd /tmp/oracle && npm install --ignore-scripts --omit=optional tokenizers@0.23.2)
// It is looked up from the working directory; so, from /tmp/oracle, with S for the path of this script:
//   node S lines > LINES.txt                         2,000 lines of mixed Unicode
//   node S TOKENIZER.json LINES.txt IDS.txt          IDS.txt: our ids, a line of them for each line of LINES.txt, or
//                                                    one line for the whole text
//   node S merges TOKENIZER.json TEXT.txt            trains on TEXT.txt with their trainer and compares the merges
// Prints the number of differences and exits with 1 if there are any.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const { Tokenizer, BPE, byteLevelPreTokenizer } = await (async () => {
  try {
    return createRequire(process.cwd() + '/')('tokenizers');
  } catch {
    console.error('error: npm package tokenizers not found from the working directory: see the head of this script');
    process.exit(2);
  }
})();

// ---- Texts ----

function makeLines(count) {
  let state = 20240229;
  const random = (n) => {  // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  };
  const pick = (list) => list[random(list.length)];
  const between = (first, last) => () => String.fromCodePoint(first + random(last - first + 1));
  const words =
    'the And of to  I that my in is not with his be your for this But he have  as thou him so me will O'
      .split(' ');
  const pieces = [
    () => pick(words), () => ' ' + pick(words), () => ' ' + pick(words), () => ' ' + pick(words),
    () => pick(["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE",
      "''ll", "'", '’s', "don't", " 'tis", "'l", "'r"]),
    () => pick([' ', '  ', '   ', '\t', ' \t', '\r', '\r\r',
      '\u00a0', ' \u00a0', '\u2003', '\u3000\u3000', '\u2028', '\u0085',
      '\u180e', '\u200b', '\ufeff', '\u1680', '\v', '\f']),
    () => pick(['👩‍👩‍👧‍👦', '🏳️‍🌈', '👍🏽', '🇫🇷', '1️⃣', '❤️', '🫠', '☃', '🧑‍🚀 ', '\u{1f9ff}']),
    () => pick(['e\u0301', 'n\u0303', 'a\u0308\u0323', '\u0301', ' \u0301x',
      'क्षि', 'กำ', '각', '\u1112\u1161\u11ab', 'ﷺ', 'ﬁ', 'İı', 'ẞß']),
    () => pick(['<|end|>', '<|endoftext|>', '<|', 'end', '|>',
      '...', '--', '?!', '…', '“', '”', '«»', '#', '@', '\\n', '%20',
      '://', '()', '$', '€', '∑', '→']),
    () => String(random(100000)), () => ' ' + random(30), () => random(10) + ',' + random(1000),
    between(0x660, 0x669), between(0x966, 0x96f), between(0x2160, 0x2188), between(0x2460, 0x249b), between(0xbc, 0xbe),
    between(0x1d7ce, 0x1d7ff), between(0xff10, 0xff19), between(0x3007, 0x3029), between(0x10140, 0x10178),
    between(0x0, 0x9), between(0xb, 0x1f), between(0x7f, 0x9f), between(0xa0, 0x24f), between(0x250, 0x36f),
    between(0x370, 0x52f), between(0x531, 0x5f4), between(0x600, 0x77f), between(0x900, 0xdff), between(0xe00, 0xfff),
    between(0x1000, 0x13ff), between(0x1780, 0x18af), between(0x1e00, 0x20ff),
    between(0x2100, 0x2bff), between(0x3000, 0x30ff), between(0x4e00, 0x9fff), between(0xac00, 0xd7a3),
    between(0xa000, 0xabff), between(0xe000, 0xe0ff), between(0xf900, 0xffff), between(0x10000, 0x12543),
    between(0x16800, 0x1b2ff), between(0x1d000, 0x1d7ff), between(0x1e000, 0x1efff), between(0x1f000, 0x1faff),
    between(0x20000, 0x323af), between(0xe0000, 0xe01ef), between(0x323b0, 0x10ffff),
  ];
  const lines = [];
  while (lines.length < count) {
    const favourite = pick(pieces);  // half of each line in one script, so that runs are long enough to merge
    let line = '';
    for (let n = random(40); n > 0; --n) line += (random(2) ? favourite : pick(pieces))();
    lines.push(line.replaceAll('\n', ''));
  }
  return lines;
}

// ---- Comparisons ----

async function countDifferences(tokenizer, texts, expected) {
  let differences = 0;
  for (let i = 0; i < texts.length; ++i) {
    const ids = (await tokenizer.encode(texts[i], null, { addSpecialTokens: false })).getIds().join(' ');
    if (ids === expected[i]) continue;
    if (++differences > 5) continue;
    console.log(`text ${i + 1} ${JSON.stringify(texts[i].slice(0, 200))}`);
    console.log(`  theirs ${ids.slice(0, 200)}\n  ours   ${expected[i].slice(0, 200)}`);
  }
  return differences;
}

async function compareIds(tokenizerFile, textFile, idsFile) {
  const split = (text) => (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
  const whole = fs.readFileSync(textFile, 'utf8');
  const ours = split(fs.readFileSync(idsFile, 'utf8'));
  const texts = ours.length === 1 ? [whole] : split(whole);
  if (texts.length !== ours.length) {
    console.error(`error: ${textFile} has ${texts.length} lines, ${idsFile} ${ours.length}`);
    process.exit(2);
  }
  // Their library cuts the text of the separator out before it encodes; ours takes it as text. So: the file as it
  // stands on the texts without it, then the file with the separator undeclared on all texts.
  const file = JSON.parse(fs.readFileSync(tokenizerFile, 'utf8'));
  const plain = texts.map((_, i) => i).filter((i) => !texts[i].includes(file.added_tokens[0].content));
  const asIs = await countDifferences(
    Tokenizer.fromFile(tokenizerFile), plain.map((i) => texts[i]), plain.map((i) => ours[i]));
  file.added_tokens = [];
  const undeclared = await countDifferences(Tokenizer.fromString(JSON.stringify(file)), texts, ours);
  console.log(`${asIs} of ${plain.length} texts differ; ` +
    `${undeclared} of ${texts.length} with the separator undeclared`);
  return asIs + undeclared;
}

// Their trainer reads line by line: give it a text in which no run of spaces goes on past the end of a line.
function compareMerges(tokenizerFile, textFile) {
  const ours = JSON.parse(fs.readFileSync(tokenizerFile, 'utf8')).model.merges;
  const trained = new Tokenizer(BPE.empty());
  trained.setPreTokenizer(byteLevelPreTokenizer(false, true));
  trained.train([textFile]);
  const saved = `${tokenizerFile}.theirs`;
  trained.save(saved);
  const theirs = JSON.parse(fs.readFileSync(saved, 'utf8')).model.merges;
  fs.unlinkSync(saved);
  const first = ours.findIndex((merge, i) => JSON.stringify(merge) !== JSON.stringify(theirs[i]));
  console.log(first < 0 ? `0 of ${ours.length} merges differ (theirs has ${theirs.length})`
    : `merge ${first}: ours ${JSON.stringify(ours[first])}, theirs ${JSON.stringify(theirs[first])}`);
  return first < 0 ? 0 : 1;
}

const [command, ...rest] = process.argv.slice(2);
if (command === 'lines' && rest.length === 0) fs.writeSync(1, makeLines(2000).join('\n') + '\n');
else if (command === 'merges' && rest.length === 2) process.exitCode = compareMerges(...rest);
else if (command && rest.length === 2) process.exitCode = (await compareIds(command, ...rest)) ? 1 : 0;
else {
  console.error('usage: node tokenizer_oracle.mjs lines | TOKENIZER.json TEXT IDS | merges TOKENIZER.json TEXT');
  process.exitCode = 2;
}
