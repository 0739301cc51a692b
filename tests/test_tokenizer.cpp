// The tokenizer as others see it: its three kinds, its file, and files that are not in order.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "nn/tokenizer.h"
#include "tests/scratch.h"

using namespace switchyard;
using nlohmann::json;
using Ids = std::vector<int32_t>;

namespace {

const std::string verse =
    "the cat sat on the mat. the cats' hats: that's what the cat's at!\n\nThe bat, 2024; the  rat.\n";

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void write(const std::filesystem::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

std::string random_bytes(std::mt19937& random, std::size_t size) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

// A change to a good file (RFC 6902), and what the Error says of it.
const std::pair<const char*, const char*> bad_changes[] = {
    {R"({"op":"add","path":"/extra","value":1})", "unknown key \"extra\""},
    {R"({"op":"replace","path":"/version","value":"2.0"})", "\"version\" is not supported"},
    {R"({"op":"replace","path":"/normalizer","value":{"type":"NFC"}})", "\"normalizer\" is not supported"},
    {R"({"op":"replace","path":"/truncation","value":{}})", "\"truncation\" is not supported"},
    {R"({"op":"replace","path":"/post_processor","value":{"type":"TemplateProcessing"}})", "post_processor"},
    {R"({"op":"replace","path":"/post_processor","value":7})", "\"post_processor\": must be null or an object"},
    {R"({"op":"replace","path":"/pre_tokenizer","value":{"type":"Whitespace"}})", "both must be ByteLevel"},
    {R"({"op":"replace","path":"/pre_tokenizer","value":null})", "must be Fuse"},
    {R"({"op":"replace","path":"/pre_tokenizer","value":{}})", "pre_tokenizer: needs \"type\""},
    {R"({"op":"replace","path":"/pre_tokenizer/add_prefix_space","value":true})", "\"add_prefix_space\" must be"},
    {R"({"op":"replace","path":"/pre_tokenizer/use_regex","value":"yes"})", "\"use_regex\" must be"},
    {R"({"op":"replace","path":"/pre_tokenizer/use_regex","value":false})", "the ids must be the bytes"},
    {R"({"op":"replace","path":"/decoder","value":null})", "both must be ByteLevel"},
    {R"({"op":"remove","path":"/added_tokens"})", "needs \"added_tokens\", an array"},
    {R"({"op":"replace","path":"/added_tokens","value":[]})", "added_tokens: must hold one token"},
    {R"({"op":"replace","path":"/added_tokens/0","value":3})", "added_tokens: must hold one token"},
    {R"({"op":"replace","path":"/added_tokens/0/content","value":""})", "the token is empty"},
    {R"({"op":"replace","path":"/added_tokens/0/content","value":null})", "needs \"content\", a string"},
    {R"({"op":"replace","path":"/added_tokens/0/id","value":1})", "id 1 is given twice"},
    {R"({"op":"replace","path":"/model/vocab/<|end|>","value":5})", "id 5 in vocab, 0 in added_tokens"},
    {R"({"op":"replace","path":"/added_tokens/0/id","value":-1})", "its id must be 0 to"},
    {R"({"op":"remove","path":"/added_tokens/0/id"})", "its id must be 0 to"},
    {R"({"op":"remove","path":"/model"})", "needs \"model\", an object"},
    {R"({"op":"replace","path":"/model","value":[]})", "needs \"model\", an object"},
    {R"({"op":"replace","path":"/model/type","value":"WordPiece"})", "it must be \"BPE\""},
    {R"({"op":"replace","path":"/model/dropout","value":0.1})", "\"dropout\" is not supported"},
    {R"({"op":"replace","path":"/model/byte_fallback","value":true})", "\"byte_fallback\" is not supported"},
    {R"({"op":"replace","path":"/model/ignore_merges","value":true})", "\"ignore_merges\" is not supported"},
    {R"({"op":"replace","path":"/model/end_of_word_suffix","value":"</w>"})", "\"end_of_word_suffix\" is not"},
    {R"({"op":"replace","path":"/model/vocab","value":{}})", "the byte 0x00, written \"Ā\", is missing"},
    {R"({"op":"replace","path":"/model/vocab","value":[1]})", "needs \"vocab\", an object"},
    {R"({"op":"replace","path":"/model/vocab/a","value":5})", "is given twice"},
    {R"({"op":"replace","path":"/model/vocab/a","value":0})", "is given twice"},
    {R"({"op":"replace","path":"/model/vocab/a","value":260})", "token \"a\": its id must be 0 to 259"},
    {R"({"op":"replace","path":"/model/vocab/a","value":-1})", "token \"a\": its id must be 0 to 259"},
    {R"({"op":"replace","path":"/model/vocab/a","value":4294967362})", "token \"a\": its id must be 0 to 259"},
    {R"({"op":"replace","path":"/model/vocab/a","value":66.0})", "token \"a\": its id must be 0 to 259"},
    {R"({"op":"replace","path":"/model/vocab/a","value":"66"})", "token \"a\": its id must be 0 to 259"},
    {R"({"op":"remove","path":"/model/vocab/a"})", "its id must be 0 to 258"},
    {R"({"op":"move","from":"/model/vocab/a","path":"/model/vocab/a b"})", "token \"a b\": U+0020 stands for no byte"},
    {R"({"op":"move","from":"/model/vocab/a","path":"/model/vocab/aaa"})", "the byte 0x61, written \"a\", is missing"},
    {R"({"op":"add","path":"/model/vocab/","value":260})", "a token is empty"},
    {R"({"op":"remove","path":"/model/merges"})", "needs \"merges\", an array"},
    {R"({"op":"add","path":"/model/merges/0","value":["a"]})", "merge 0: must be"},
    {R"({"op":"add","path":"/model/merges/0","value":["a",1]})", "merge 0: must be"},
    {R"({"op":"add","path":"/model/merges/0","value":"at"})", "merge 0: must be"},
    {R"({"op":"add","path":"/model/merges/0","value":7})", "merge 0: must be"},
    {R"({"op":"add","path":"/model/merges/1","value":["q","zz"]})", "merge 1: no token \"zz\" in vocab"},
    {R"({"op":"add","path":"/model/merges/1","value":["q","z"]})", "merge 1: no token \"qz\" in vocab"},
    {R"({"op":"add","path":"/model/merges/1","value":["","a"]})", "merge 1: no token \"\" in vocab"},
    {R"({"op":"add","path":"/model/merges/1","value":["a","t"]})", "merge 1: the pair was merged before"},
    {R"({"op":"add","path":"/model/merges/1","value":["<|","end|>"]})", "merge 1: no token \"<|\" in vocab"},
};

}  // namespace

TEST_CASE("tokenizer: bytes") {
  const Tokenizer t = Tokenizer::bytes();
  CHECK(t.kind() == TokenizerKind::bytes);
  CHECK(t.vocab_size() == 257);
  CHECK(t.end_id() == 256);
  CHECK(t.encode("aé\n") == Ids{97, 0xC3, 0xA9, 10});
  CHECK(t.bytes_of(0xC3) == "\xC3");
  CHECK(t.decode(Ids{104, 256, 105}) == "hi");  // the separator adds nothing
}

TEST_CASE("tokenizer: chars, in order of code point") {
  const Tokenizer t = Tokenizer::train_chars("b😀aéab");
  CHECK(t.kind() == TokenizerKind::chars);
  CHECK(t.vocab_size() == 5);
  CHECK(t.end_id() == 4);
  CHECK(t.encode("abé😀") == Ids{0, 1, 2, 3});
  CHECK(t.decode(Ids{3, 4, 2}) == "😀é");
  CHECK(error_of([&] { t.encode("ab\u00E8"); }) ==
        "U+00E8 'è' at byte 2: not one of the 4 characters of this vocabulary");
  CHECK(contains(error_of([&] { t.encode("a\n"); }), "U+000A at byte 1"));
  CHECK(contains(error_of([&] { t.encode("aé\xFF"); }), "the byte 0xFF at byte 3 is not UTF-8"));
  CHECK(contains(error_of([&] { t.encode("a\xF0\x9F\x98"); }), "the byte 0xF0 at byte 1 is not UTF-8"));
  CHECK(contains(error_of([] { Tokenizer::train_chars("ab\x80"); }), "the byte 0x80 at byte 2 is not UTF-8"));
  CHECK(Tokenizer::train_chars("").vocab_size() == 1);
}

TEST_CASE("tokenizer: bpe, the layout of the vocabulary") {
  const Tokenizer t = Tokenizer::train_bpe(verse, 270);
  CHECK(t.kind() == TokenizerKind::bpe);
  CHECK(t.vocab_size() == 270);
  CHECK(t.end_id() == 0);
  CHECK(t.bytes_of(0).empty());
  CHECK(t.bytes_of(1) == "!");   // the smallest stand-in
  CHECK(t.bytes_of(94) == "~");  // 33 to 126, then 161 …
  CHECK(t.bytes_of(95) == "\xA1");
  CHECK(t.bytes_of(189) == std::string(1, '\0'));  // U+0100, the first of those that do not stand for themselves
  CHECK(t.bytes_of(256) == "\xAD");
  CHECK(t.bytes_of(257) == "at");  // ten times in the verse; "th" is there six times
  // A text without pairs gives the alphabet alone, and so does any text when no more is asked for.
  CHECK(Tokenizer::train_bpe("", 5000).vocab_size() == 257);
  CHECK(Tokenizer::train_bpe("a b 1", 5000).vocab_size() == 259);  // " 1" and " b"
  CHECK(Tokenizer::train_bpe(verse, 257).vocab_size() == 257);
  for (const int size : {256, 0, -1, Tokenizer::max_vocab_size + 1})
    CHECK(contains(error_of([&] { Tokenizer::train_bpe(verse, size); }), "must be 257 to 1048576"));
}

TEST_CASE("tokenizer: any bytes go there and back") {
  std::mt19937 random(3);
  const std::string noise = random_bytes(random, 20000);
  for (const Tokenizer& t : {Tokenizer::bytes(), Tokenizer::train_bpe(verse, 300), Tokenizer::train_bpe(noise, 600)})
    for (const std::string& text : {std::string(), noise, verse, std::string("a\0b", 3), std::string("\xE4\xB8")})
      CHECK(t.decode(t.encode(text)) == text);
}

TEST_CASE("tokenizer: the text never holds the separator") {
  for (const Tokenizer& t :
       {Tokenizer::bytes(), Tokenizer::train_bpe("<|end|> <|end|> <|end|>", 300), Tokenizer::train_chars("<|end|>")}) {
    const Ids ids = t.encode("<|end|>");
    CHECK(ids.size() > 1);
    CHECK(std::count(ids.begin(), ids.end(), t.end_id()) == 0);
    CHECK(t.decode(ids) == "<|end|>");
    CHECK(t.bytes_of(t.end_id()).empty());
    for (const int id : {-1, t.vocab_size()}) {
      CHECK(contains(error_of([&] { t.decode(Ids{id}); }), "must be 0 to"));
      CHECK(contains(error_of([&] { t.bytes_of(id); }), "must be 0 to"));
    }
  }
}

TEST_CASE("tokenizer: encode appends") {
  const Tokenizer t = Tokenizer::train_bpe("ab ab", 258);
  Ids ids = {7};
  t.encode("ab", ids);
  t.encode("abab", ids);
  CHECK(ids == Ids{7, 257, 257, 257});
}

// What Hugging Face's tokenizers 0.23.2 returned for the file that train_bpe(verse, 290) writes.
TEST_CASE("tokenizer: the ids of Hugging Face's library") {
  const Tokenizer t = Tokenizer::train_bpe(verse, 290);
  CHECK(t.encode("the cat's hat,  that bat\r\n\n 'twas") ==
        Ids{259, 263, 264, 276, 12, 221, 283, 278, 202, 199, 199, 221, 7, 84, 87, 65, 83});
  CHECK(t.encode("\u0664\u0662 e\u0301\u00A0\u3000x \u180E👨\u200D👩\uFE0F Ⅷ½") ==
        Ids{150, 98,  150, 96,  221, 69,  137, 224, 127, 255, 160, 223, 223, 88,  221, 158, 255, 237, 173,
            254, 240, 102, 159, 223, 236, 173, 254, 240, 103, 172, 117, 238, 221, 159, 228, 101, 127, 122});
  CHECK(t.encode(std::string_view("don't DON'T 12ab\t中文the\0", 27)) ==
        Ids{68, 270, 7, 84, 221, 36, 47, 46, 7, 52, 221, 17, 18, 65, 66, 198, 161, 117, 256, 163, 245, 230, 259, 189});
}

TEST_CASE("tokenizer: a file holds everything") {
  const Scratch folder;
  const std::filesystem::path file = folder.path / "tokenizer.json";
  for (const Tokenizer& t : {Tokenizer::bytes(),
                             Tokenizer::train_chars("\"\\\n\t\x01\x7F"
                                                    "a😀é0 \u2028"),
                             Tokenizer::train_bpe(verse, 300), Tokenizer::train_bpe("", 257)}) {
    t.save(file);
    const Tokenizer back = Tokenizer::load(file);
    CHECK(back.kind() == t.kind());
    CHECK(back.end_id() == t.end_id());
    REQUIRE(back.vocab_size() == t.vocab_size());
    for (int id = 0; id < t.vocab_size(); ++id) CHECK(back.bytes_of(id) == t.bytes_of(id));
    if (t.kind() != TokenizerKind::chars) CHECK(back.encode(verse) == t.encode(verse));
    CHECK(back.to_json() == t.to_json());
  }
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);  // no temporary file is left
  CHECK(contains(error_of([&] { Tokenizer::bytes().save(folder.path / "no" / "t.json"); }), "cannot be written"));
  CHECK(contains(error_of([&] { Tokenizer::bytes().save(folder.path); }), "cannot be written"));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}

TEST_CASE("tokenizer: other files of the same make") {
  const Tokenizer t = Tokenizer::train_bpe(verse, 280);
  json file = json::parse(t.to_json());
  for (json& merge : file["model"]["merges"])
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();  // as written until 2024
  CHECK(Tokenizer::from_json(file.dump()).to_json() == t.to_json());
  // GPT-2's own: an older layout, the separator under another name at the end.
  file["post_processor"] = file["decoder"];
  file["model"].erase("type");
  file["model"].erase("byte_fallback");
  file["model"].erase("ignore_merges");
  file["pre_tokenizer"].erase("use_regex");
  file["model"]["vocab"].erase("<|end|>");
  for (auto& [name, id] : file["model"]["vocab"].items()) id = id.get<int>() - 1;
  file["added_tokens"][0]["id"] = 279;
  file["added_tokens"][0]["content"] = "<|endoftext|>";
  const Tokenizer gpt2 = Tokenizer::from_json(file.dump());
  CHECK(gpt2.vocab_size() == 280);
  CHECK(gpt2.end_id() == 279);
  Ids ids = t.encode(verse);
  for (int32_t& id : ids) --id;
  CHECK(gpt2.encode(verse) == ids);
  CHECK(contains(gpt2.to_json(), "\"<|endoftext|>\": 279"));
}

TEST_CASE("tokenizer: files that are not in order") {
  const json good = json::parse(Tokenizer::train_bpe(verse, 260).to_json());
  CHECK(error_of([&] { Tokenizer::from_json(good.dump()); }) == "no error");
  for (const auto& [change, expected] : bad_changes) {
    const std::string message =
        error_of([&, patch = json::array({json::parse(change)})] { Tokenizer::from_json(good.patch(patch).dump()); });
    CAPTURE(change);
    CAPTURE(message);
    CHECK(contains(message, expected));
    CHECK(!contains(message, "\n"));
  }
}

TEST_CASE("tokenizer: files of characters that are not in order") {
  const json good = json::parse(Tokenizer::train_chars("abc").to_json());
  const auto message = [&](const char* path, const json& value) {
    json file = good;
    file[json::json_pointer(path)] = value;
    return error_of([&] { Tokenizer::from_json(file.dump()); });
  };
  CHECK(contains(message("/model/vocab/ab", 4), "token \"ab\": must be one character"));
  CHECK(contains(message("/model/vocab/d", 3), "is given twice"));
  CHECK(contains(message("/model/unk_token", "a"), "\"unk_token\" is not supported"));
  CHECK(contains(message("/model/merges", json::parse(R"([["a","b"]])")), "no token \"ab\" in vocab"));
  CHECK(contains(message("/decoder", json::parse(R"({"type":"ByteLevel"})")), "the decoder must be Fuse"));
}

TEST_CASE("tokenizer: files that are broken") {
  const Scratch folder;
  const std::filesystem::path file = folder.path / "t.json";
  const auto message = [&](std::string_view text) {
    write(file, text);
    const std::string of_file = error_of([&] { Tokenizer::load(file); });
    CHECK(of_file == file.string() + ": " + error_of([&] { Tokenizer::from_json(text); }));
    return of_file;
  };
  CHECK(contains(message(""), "not JSON at byte 1"));
  CHECK(contains(error_of([&] { Tokenizer::load(folder.path / "none.json"); }), "cannot be read"));
  CHECK(contains(error_of([&] { Tokenizer::load(folder.path); }), "cannot be read"));
  CHECK(contains(message("null"), "must be a JSON object"));
  CHECK(contains(message("[]"), "must be a JSON object"));
  CHECK(contains(message("{}"), "the decoder must be Fuse"));
  CHECK(contains(message("{\"\xFF\": 1}"), "not JSON at byte 3"));
  CHECK(contains(message("{\"\\ud800\": 1}"), "not JSON at byte"));
  CHECK(contains(message("{\"version\": 1e999}"), "a number is too large"));
  for (const char* nested : {"[", "{\"model\":"}) {
    std::string deep;
    for (int i = 0; i < 1'000'000; ++i) deep += nested;
    CHECK(contains(message(deep), "not JSON at byte"));
  }
  const std::string open(100'000, '['), close(100'000, ']');
  CHECK(contains(message("{\"decoder\":" + open + close + "}"), "\"decoder\": must be null or an object"));
  CHECK(contains(message(std::string((64u << 20) + 1, ' ')), "more than 64 MB"));
  // Cut anywhere, a good file is no longer JSON; with any byte changed it must not crash.
  const std::string good = Tokenizer::train_bpe(verse, 262).to_json();
  for (std::size_t size = 1; size + 1 < good.size(); size += 97)
    CHECK(contains(error_of([&] { Tokenizer::from_json(good.substr(0, size)); }), "not JSON at byte"));
  std::mt19937 random(4);
  for (int round = 0; round < 300; ++round) {
    std::string bad = good;
    bad[random() % bad.size()] = static_cast<char>(random());
    try {
      const Tokenizer t = Tokenizer::from_json(bad);
      CHECK(t.decode(t.encode(verse)) == verse);
    } catch (const Error&) {
    }
  }
}
