// tensor/file and tensor/safetensors, against the format's specification and the malformed files of its reference.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>

#include "tensor/random.h"
#include "tensor/safetensors.h"
#include "tests/scratch.h"

using namespace switchyard;
namespace fs = std::filesystem;

namespace {

// The file with these bytes, written plainly.
fs::path file_in(const Scratch& scratch, std::string_view bytes) {
  const fs::path path = scratch.path / "f.safetensors";
  fs::remove(path);  // to overwrite would wait for the disk
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

std::string length_of(uint64_t n) { return {reinterpret_cast<const char*>(&n), sizeof n}; }
std::string with_header(std::string_view header, std::string_view data = "") {
  return length_of(header.size()) + std::string(header) + std::string(data);
}
// One tensor's entry, as JSON.
std::string entry(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return fmt::format(R"({{"dtype":"{}","shape":{},"data_offsets":{}}})", dtype, shape, offsets);
}
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets, std::string_view data) {
  return with_header("{\"a\":" + entry(dtype, shape, offsets) + "}", data);
}
template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// Opening these bytes must fail with a message that begins with the file's name and holds `fault`.
void check_malformed(const std::string& bytes, const std::string& fault) {
  const Scratch scratch;
  const fs::path path = file_in(scratch, bytes);
  const std::string message = error_of([&] { SafetensorsFile{path}; });
  CAPTURE(message);
  CHECK(message.starts_with(path.string() + ": "));
  CHECK_MESSAGE(message.find(fault) != std::string::npos, fault);
  CHECK(message.find('\n') == std::string::npos);
}

}  // namespace

TEST_CASE("safetensors: the byte vectors of the reference are read") {
  const Scratch scratch;
  const std::string six = bytes_of<float>({0, 1, 2, 3, 4, 5});
  // test_serialization and test_serialization_forced_alignement
  const SafetensorsFile plain(file_in(
      scratch,
      std::string("@\0\0\0\0\0\0\0", 8) + R"({"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}})" + six));
  CHECK(plain.names() == std::vector<std::string>{"attn.0"});
  CHECK(plain.contains("attn.0"));
  CHECK_FALSE(plain.contains("attn"));
  CHECK(plain.shape("attn.0") == Shape{1, 2, 3});
  CHECK(plain.load("attn.0").values() == std::vector<double>{0, 1, 2, 3, 4, 5});
  const SafetensorsFile padded(
      file_in(scratch, std::string("H\0\0\0\0\0\0\0", 8) +
                           R"({"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}}       )" + six));
  CHECK(padded.load("attn0").shape() == Shape{1, 1, 2, 3});
  // test_empty
  CHECK(SafetensorsFile(file_in(scratch, std::string("\x8\0\0\0\0\0\0\0{}      ", 16))).names().empty());
  const SafetensorsFile metadata(file_in(scratch, with_header(R"({"__metadata__":{"framework":"pt"}}     )")));
  CHECK(metadata.metadata() == std::map<std::string, std::string>{{"framework", "pt"}});
  // test_empty_shapes_allowed, test_zero_sized_tensor, and an entry of a dtype that no tensor here can hold
  const SafetensorsFile scalar(file_in(scratch, one("I32", "[]", "[0,4]", std::string("\7\0\0\0", 4))));
  CHECK(scalar.load("a").item() == 7);
  CHECK(SafetensorsFile(file_in(scratch, one("I32", "[2,0]", "[0, 0]", ""))).load("a").shape() == Shape{2, 0});
  const SafetensorsFile f4(file_in(scratch, one("F4", "[1,2]", "[0,1]", std::string(1, '\0'))));
  CHECK(f4.dtype("a") == "F4");
  CHECK(error_of([&] { f4.load("a"); }).ends_with("tensor \"a\" is F4: cannot become f32"));
  // Whitespace on both sides.
  CHECK(SafetensorsFile(file_in(scratch, with_header("{}\r \t\n"))).names().empty());
  CHECK(SafetensorsFile(file_in(scratch, with_header("\t\n{}\r "))).names().empty());
  // Unknown fields mean nothing; escapes are resolved; the order in the header is free.
  const SafetensorsFile odd(file_in(
      scratch,
      with_header(R"({"b":{"x":[{"dtype":1,"y":[[]]},null,-1.5],"data_offsets":[2,4],"shape":[1],"dtype":"BF16"},)"
                  R"("\u00e4\n":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":true}})",
                  "12\x80\x3f")));
  CHECK(odd.names() == std::vector<std::string>{"b", "ä\n"});
  CHECK(odd.load("b").item() == 1);
}

TEST_CASE("safetensors: the writer's bytes, order and padding") {
  const Scratch scratch;
  const fs::path path = scratch.path / "w.safetensors";
  const std::vector<NamedTensor> tensors = {{"b", Tensor::from(std::vector<double>{1}, {}, Dtype::f32)},
                                            {"i", Tensor::from(std::vector<int32_t>{-1, 2}, {2})},
                                            {"d", Tensor::from(std::vector<double>{0.5}, {1, 1}, Dtype::f64)},
                                            {"a", Tensor({0, 3})}};
  save_safetensors(path, tensors, {{"key\"", "ä"}, {"format", "other"}});
  std::string header = R"({"__metadata__":{"format":"pt","key\"":"ä"},)"
                       R"("d":{"dtype":"F64","shape":[1,1],"data_offsets":[0,8]},)"
                       R"("a":{"dtype":"F32","shape":[0,3],"data_offsets":[8,8]},)"
                       R"("b":{"dtype":"F32","shape":[],"data_offsets":[8,12]},)"
                       R"("i":{"dtype":"I32","shape":[2],"data_offsets":[12,20]}})";
  while (header.size() % 8) header += ' ';
  CHECK(read_file(path) ==
        with_header(header, bytes_of<double>({0.5}) + bytes_of<float>({1}) + bytes_of<int>({-1, 2})));
  CHECK(SafetensorsFile(path).metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"key\"", "ä"}});
  save_safetensors(path, {});
  CHECK(read_file(path) == with_header(R"({"__metadata__":{"format":"pt"}})"));
}

TEST_CASE("safetensors: what was written is read back, bit by bit") {
  const Scratch scratch;
  const fs::path path = scratch.path / "r.safetensors";
  std::vector<NamedTensor> tensors;
  uint64_t number = 0;
  for (Dtype dtype : {Dtype::f32, Dtype::bf16, Dtype::i32, Dtype::f64})
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{0}, Shape{3, 5}, Shape{2, 0, 3}, Shape{1, 2, 3, 4}}) {
      Tensor tensor(shape, dtype);  // of random bits: NaNs of every kind, infinities and subnormals among them
      for (size_t i = 0; i < tensor.bytes(); ++i) tensor.raw()[i] = std::byte(random_bits({7, 0}, number++));
      tensors.push_back({fmt::format("{}.{}", name(dtype), shape.text()), tensor});
    }
  save_safetensors(path, tensors);
  const SafetensorsFile file(path);
  CHECK(file.names().size() == tensors.size());
  for (const NamedTensor& named : tensors) {
    CAPTURE(named.name);
    const Tensor again = file.load(named.name, named.tensor.dtype());
    CHECK(again.shape() == named.tensor.shape());
    REQUIRE(again.dtype() == named.tensor.dtype());
    CHECK(std::memcmp(again.raw(), named.tensor.raw(), again.bytes()) == 0);
  }
  // Over the file that is mapped: the mapping keeps the old one.
  save_safetensors(path, std::vector<NamedTensor>{{"f32.(7)", file.load("f32.(7)")}});
  CHECK(std::memcmp(file.load("i32.(3, 5)").raw(), tensors[15].tensor.raw(), 60) == 0);
  CHECK(SafetensorsFile(path).names().size() == 1);
}

TEST_CASE("safetensors: every F16 and BF16 value is read exactly") {
  const Scratch scratch;
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  // The value that the bits stand for, from the definition of a binary floating-point format.
  const auto meaning = [](int bits, int mantissa_bits, int bias) {
    const int mantissa = bits & ((1 << mantissa_bits) - 1), exponent = (bits & 0x7fff) >> mantissa_bits;
    const bool special = exponent == 0x7fff >> mantissa_bits;
    const double magnitude = special && mantissa ? NAN
                             : special           ? HUGE_VAL
                             : exponent == 0
                                 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                 : std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
    return bits & 0x8000 ? -magnitude : magnitude;
  };
  for (const auto& [dtype, mantissa_bits, bias] : {std::tuple{"F16", 10, 15}, std::tuple{"BF16", 7, 127}}) {
    const SafetensorsFile file(file_in(scratch, one(dtype, "[65536]", "[0,131072]", bytes_of(all))));
    for (Dtype as : {Dtype::f32, Dtype::f64}) {
      const std::vector<double> values = file.load("a", as).values();
      int wrong = 0;
      for (int i = 0; i < 65536; ++i) {
        const double expected = meaning(i, mantissa_bits, bias);
        const bool both_nan = std::isnan(values[i]) && std::isnan(expected);
        wrong += !both_nan && (values[i] != expected || std::signbit(values[i]) != std::signbit(expected));
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("safetensors: conversions round to nearest, ties to even, once") {
  const Scratch scratch;
  const double inf = HUGE_VAL, tie = 1 + 0x1p-8, tie_up = 1 + 3 * 0x1p-8;  // bf16 has 7 bits after the point
  const std::vector<double> x = {1,    -2.5,   tie,   tie_up, std::nextafter(tie, 2),   std::nextafter(tie_up, 0),
                                 -0.0, 3.4e38, 1e300, -inf,   std::nextafter(-tie, -2), 0x1p-133};
  const std::vector<uint16_t> expected = {0x3f80, 0xc020, 0x3f80, 0x3f82, 0x3f81, 0x3f81,
                                          0x8000, 0x7f80, 0x7f80, 0xff80, 0xbf81, 0x0001};
  const SafetensorsFile file(file_in(scratch, one("F64", "[12]", "[0,96]", bytes_of(x))));
  const Tensor bf16 = file.load("a", Dtype::bf16);
  for (size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i]);
    CHECK(reinterpret_cast<const uint16_t*>(bf16.raw())[i] == expected[i]);
  }
  CHECK(file.load("a").values()[5] == 1 + 3 * 0x1p-8);  // f32 rounds the step of nextafter() away
  CHECK(file.load("a").values()[8] == inf);
  CHECK(file.load("a", Dtype::f64).values() == x);
  const std::string nan = bytes_of<uint32_t>({0x7f800001, 0xffffffff});  // their upper halves alone: infinity and a NaN
  const Tensor nans = SafetensorsFile(file_in(scratch, one("F32", "[2]", "[0,8]", nan))).load("a", Dtype::bf16);
  CHECK(reinterpret_cast<const uint16_t*>(nans.raw())[0] == 0x7fc0);
  CHECK(reinterpret_cast<const uint16_t*>(nans.raw())[1] == 0xffff);
}

TEST_CASE("safetensors: integers, other dtypes and shapes that differ") {
  const Scratch scratch;
  const SafetensorsFile fits(
      file_in(scratch, one("I64", "[2]", "[0,16]", bytes_of<int64_t>({-2147483648, 2147483647}))));
  CHECK(fits.load("a").dtype() == Dtype::i32);
  CHECK(fits.load("a").values() == std::vector<double>{-2147483648.0, 2147483647.0});
  const SafetensorsFile large(file_in(scratch, one("I64", "[2]", "[0,16]", bytes_of<int64_t>({5, 2147483648}))));
  CHECK(error_of([&] { large.load("a"); }).ends_with("tensor \"a\": its element 1 does not fit i32"));
  const SafetensorsFile i32(file_in(scratch, one("I32", "[1]", "[0,4]", bytes_of<int32_t>({-7}))));
  CHECK(i32.load("a").item() == -7);
  CHECK(error_of([&] { i32.load_into("a", Tensor({1})); }).ends_with("tensor \"a\" is I32: cannot become f32"));
  const SafetensorsFile f32(file_in(scratch, one("F32", "[2,1]", "[0,8]", bytes_of<float>({3, 4}))));
  CHECK(error_of([&] { f32.load("a", Dtype::i32); }).ends_with("tensor \"a\" is F32: cannot become i32"));
  CHECK(error_of([&] {
          f32.load_into("a", Tensor({1, 2}));
        }).ends_with("tensor \"a\" has shape (2, 1): must be (1, 2)"));
  CHECK(error_of([&] { f32.load_into("a", Tensor()); }).find("destination") != std::string::npos);
  CHECK(error_of([&] { f32.load("b"); }).ends_with("no tensor \"b\" in the file"));
  CHECK(error_of([&] { f32.shape("b\n"); }).ends_with("no tensor \"b\\n\" in the file"));
  const Tensor rows = Tensor::zeros({4, 1}, Dtype::f64);
  f32.load_into("a", rows.rows(1, 3));
  CHECK(rows.values() == std::vector<double>{0, 3, 4, 0});
  // Nothing is aligned in this file: the header has an odd length and a byte comes first.
  const SafetensorsFile shifted(file_in(
      scratch, with_header("{\"x\":" + entry("U8", "[1]", "[0,1]") + ",\"y\":" + entry("F64", "[2]", "[1,17]") + "} ",
                           "?" + bytes_of<double>({1.25, NAN}))));
  CHECK(shifted.load("y").values()[0] == 1.25);
  CHECK(std::isnan(shifted.load("y").values()[1]));
}

TEST_CASE("safetensors: malformed files of the reference") {
  std::string attack = "{";
  for (int i = 0; i < 10; ++i) attack += fmt::format("\"w{}\":{},", i, entry("F32", "[2,2]", "[0,16]"));
  attack.back() = '}';
  check_malformed(with_header(attack, std::string(16, '\0')), "data_offsets begin at 0: must be 16");
  const std::string good = one("I32", "[2,2]", "[0,16]", std::string(16, '\0'));
  check_malformed(good + "polyglot", "24 bytes follow the header: must be 16 for its tensors");
  check_malformed(good.substr(0, good.size() - 2), "14 bytes follow the header: must be 16 for its tensors");
  check_malformed(std::string("<\0\0\0\0\xff\xff\xff", 8) + good.substr(8), "length is 18446742974197923900");
  check_malformed("", "0 bytes are too few");
  check_malformed("1234567", "7 bytes are too few");
  check_malformed(length_of(60), "the header's length is 60, but only 0 bytes follow");
  check_malformed(length_of(1000) + "{}", "the header's length is 1000, but only 2 bytes follow");
  check_malformed(length_of(100'000'001), "must be at most 100000000");
  check_malformed(length_of(0), "does not begin with {");
  check_malformed(with_header("\xff"), "does not begin with {");
  check_malformed(with_header("{\"\xff\":{}}"), "not JSON in UTF-8: its byte 3 ");
  check_malformed(with_header("{"), "not JSON in UTF-8: its byte 2 ");
  check_malformed(one("I32", "[2,2]", "[0,4]", "1234"),
                  "tensor \"a\": shape [2, 2] of I32 needs 16 bytes, data_offsets "
                  "are [0, 4]");
  check_malformed(one("I32", "[2,18446744073709551614]", "[0,16]", std::string(16, '\0')), "more than 2^64 bits");
  check_malformed(one("I32", "[2,9223372036854775807]", "[0,16]", std::string(16, '\0')), "more than 2^64 bits");
  check_malformed(one("F4", "[1,3]", "[0,1]", "1"), "shape [1, 3] of F4 is no whole number of bytes");
}

TEST_CASE("safetensors: malformed files of our own") {
  const std::string e = entry("F32", "[1]", "[0,4]");
  const auto tensor_with = [&](const char* fields) {
    return with_header(fmt::format("{{\"a\":{{{}}}}}", fields), "1234");
  };
  // Names and keys that stand twice.
  check_malformed(with_header("{\"a\":" + e + ",\"a\":" + e + "}", "1234"), "tensor \"a\": the name stands twice");
  check_malformed(with_header("{\"a\":" + e + ",\"\\u0061\":" + e + "}", "1234"),
                  "tensor \"a\": the name stands twice");
  check_malformed(tensor_with(R"("dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4])"),
                  "tensor \"a\": dtype: the key stands twice");
  check_malformed(tensor_with(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"shape":[1])"),
                  "tensor \"a\": shape: the key stands twice");
  check_malformed(with_header(R"({"__metadata__":{},"__metadata__":{}})"), "__metadata__: the name stands twice");
  check_malformed(with_header(R"({"__metadata__":{"k":"","k":""}})"), "__metadata__ \"k\": the key stands twice");
  // Missing fields, and values of the wrong kind.
  check_malformed(tensor_with(R"("shape":[1],"data_offsets":[0,4])"), "tensor \"a\": has no dtype");
  check_malformed(tensor_with(R"("dtype":"F32","data_offsets":[0,4])"), "tensor \"a\": has no shape");
  check_malformed(tensor_with(R"("dtype":"F32","shape":[1])"), "tensor \"a\": has no data_offsets");
  check_malformed(with_header("[]"), "does not begin with {");
  check_malformed(with_header("{\"a\":[]}"), "tensor \"a\": is an array: must be an object");
  check_malformed(with_header("{\"a\\n\":3}"), "tensor \"a\\n\": is a number: must be an object");
  check_malformed(with_header(R"({"__metadata__":null})"), "__metadata__: is null: must be an object");
  check_malformed(with_header(R"({"__metadata__":{"k":1}})"), "__metadata__ \"k\": is a number: must be a string");
  check_malformed(with_header(R"({"__metadata__":{"k":{}}})"), "__metadata__ \"k\": is an object: must be a string");
  check_malformed(tensor_with(R"("dtype":32)"), "tensor \"a\": dtype: is a number: must be a string");
  check_malformed(tensor_with(R"("shape":1)"), "tensor \"a\": shape: is a number: must be an array");
  check_malformed(tensor_with(R"("shape":{})"), "tensor \"a\": shape: is an object: must be an array");
  check_malformed(one("F99", "[1]", "[0,4]", "1234"), "tensor \"a\": dtype: \"F99\" is not in the format");
  check_malformed(one("f32", "[1]", "[0,4]", "1234"), "tensor \"a\": dtype: \"f32\" is not in the format");
  // Numbers.
  for (const char* bad : {"[-1]", "[-0]"})
    check_malformed(one("F32", bad, "[0,4]", "1234"), "tensor \"a\": shape: holds a number with a sign");
  for (const char* bad : {"[1e3]", "[1.0]", "[18446744073709551616]"})
    check_malformed(one("F32", bad, "[0,4]", "1234"), "tensor \"a\": shape: holds a number that is no integer");
  check_malformed(one("F32", "[1]", "[0,4e0]", "1234"),
                  "tensor \"a\": data_offsets: holds a number that is no integer");
  check_malformed(one("F32", "[\"1\"]", "[0,4]", "1234"), "shape: holds a string: must hold integers of 0 or more");
  check_malformed(one("F32", "[[1]]", "[0,4]", "1234"), "shape: holds an array");
  check_malformed(one("F32", "[1e999]", "[0,4]", "1234"), "not JSON");
  check_malformed(one("F32", "[1]", "[0]", "1234"), "data_offsets: must be 2 numbers, has 1");
  check_malformed(one("F32", "[1]", "[0,4,4]", "1234"), "data_offsets: must be 2 numbers, has more");
  check_malformed(one("F32", "[1,1,1,1,1]", "[0,4]", "1234"), "tensor \"a\": shape: has more than 4 axes");
  check_malformed(one("F32", "[0,4611686018427387904,4]", "[0,0]", ""), "more than 2^64 bits");
}

TEST_CASE("safetensors: malformed places and text") {
  const std::string e = entry("F32", "[1]", "[0,4]");
  // Places: reversed, beyond the end, a hole before and between, no 2^64 on the way round.
  check_malformed(one("F32", "[1]", "[4,0]", "1234"), "needs 4 bytes, data_offsets are [4, 0]");
  check_malformed(one("F32", "[3]", "[0,12]", "1234"), "4 bytes follow the header: must be 12");
  check_malformed(one("F32", "[1]", "[4,8]", "12345678"), "data_offsets begin at 4: must be 0");
  check_malformed(one("F32", "[1]", "[18446744073709551612,0]", "1234"), "data_offsets are [18446744073709551612, 0]");
  check_malformed(with_header("{\"a\":" + e + ",\"b\":" + entry("F32", "[1]", "[6,10]") + "}", "1234567890"),
                  "tensor \"b\": data_offsets begin at 6: must be 4");
  check_malformed(with_header("{\"a\":" + e + ",\"b\":" + entry("F32", "[1]", "[2,6]") + "}", "123456"),
                  "tensor \"b\": data_offsets begin at 2: must be 4");
  // Text.
  check_malformed(with_header("{\"a\\u0000b\":" + e + "}", "1234"), "a name cannot hold a NUL");
  check_malformed(with_header(std::string("{}\0 {", 5)), "the header holds a NUL");
  check_malformed(with_header("\xef\xbb\xbf{}"), "does not begin with {");
  check_malformed(with_header("{} {}"), "not JSON");
  check_malformed(with_header("{\"\\ud800\":{}}"), "not JSON");
  check_malformed(with_header("{\"a\":NaN}"), "not JSON");
  check_malformed(with_header("{\"" + std::string(1000, 'n') + "\":3}"), std::string(100, 'n') + "\"...");
}

TEST_CASE("safetensors: hostile headers cost neither the stack nor the time") {
  const std::clock_t start = std::clock();
  const std::string deep(100'000, '['), objects = [] {
    std::string s;
    for (int i = 0; i < 100'000; ++i) s += "{\"a\":";
    return s;
  }();
  check_malformed(with_header(objects), "tensor \"a\": nested more than 128 deep");
  check_malformed(with_header("{\"__metadata__\":" + objects), "__metadata__ \"a\": is an object: must be a string");
  check_malformed(with_header("{\"a\":" + deep), "tensor \"a\": is an array");
  check_malformed(with_header("{\"a\":{\"x\":" + deep), "tensor \"a\": nested more than 128 deep");
  check_malformed(with_header("{\"a\":{\"x\":" + objects), "tensor \"a\": nested more than 128 deep");
  std::string shared = "{", keys = R"({"__metadata__":{)", brackets = "{\"a\":{\"x\":[";
  for (int i = 0; i < 200'000; ++i) {
    shared += fmt::format("\"{}\":{},", i, entry("F32", "[4]", "[0,16]"));
    keys += fmt::format("\"{}\":\"\",", i);
    brackets += "[],";
  }
  shared.back() = keys.back() = '}';
  check_malformed(with_header(shared, std::string(16, '\0')), "data_offsets begin at 0: must be 16");
  check_malformed(with_header(keys + "}"), "at most 100000 keys");
  check_malformed(with_header(brackets + "[]]}}"), "tensor \"a\": has no dtype");
  CHECK(std::clock() - start < 10 * CLOCKS_PER_SEC);  // of processor time; half a second without a sanitizer
}

TEST_CASE("safetensors: a damaged file loads or throws Error, nothing else") {
  const Scratch scratch;
  std::vector<NamedTensor> tensors;
  for (Dtype dtype : {Dtype::f32, Dtype::bf16, Dtype::i32, Dtype::f64}) {
    Tensor tensor({2, 3}, dtype);
    std::memset(tensor.raw(), 1, tensor.bytes());
    tensors.push_back({fmt::format("model.{}", name(dtype)), tensor});
  }
  const fs::path path = scratch.path / "f.safetensors";
  save_safetensors(path, tensors, {{"key", "value"}});
  const std::string whole = read_file(path);
  const size_t header_end = whole.rfind('}') + 1;
  constexpr std::string_view likely = "0123456789{}[]:,\"\\-. eFBIsx";
  Random random{{3, 3}};
  int loaded = 0, refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string bytes = whole;
    for (int64_t i = random.below(3); i >= 0; --i) {
      char& victim = bytes[random.below(static_cast<int64_t>(round % 8 ? header_end : whole.size()))];
      if (round % 2)
        victim ^= static_cast<char>(1 << random.below(8));
      else
        victim = likely[random.below(static_cast<int64_t>(likely.size()))];
    }
    if (round % 5 == 0) bytes.resize(random.below(static_cast<int64_t>(bytes.size())));
    file_in(scratch, bytes);
    try {
      const SafetensorsFile file(path);
      for (const std::string& name : file.names()) CHECK(file.load(name).count() == file.shape(name).count());
      ++loaded;
    } catch (const Error& error) {
      CHECK(std::string_view(error.what()).starts_with(path.string()));
      ++refused;
    }
  }
  CHECK((loaded > 100 && refused > 1000));
}

TEST_CASE("safetensors: what cannot be written is an Error and leaves no file") {
  const Scratch scratch;
  const fs::path path = scratch.path / "w.safetensors";
  const Tensor t = Tensor::zeros({1});
  const auto error = [&](const std::vector<NamedTensor>& tensors, std::map<std::string, std::string> metadata = {}) {
    return error_of([&] { save_safetensors(path, tensors, metadata); });
  };
  CHECK(error({{"a", t}, {"b", t}, {"a", Tensor::zeros({2}, Dtype::f64)}}).ends_with("tensor \"a\" is given twice"));
  CHECK(error({{"__metadata__", t}}).ends_with("a tensor cannot be called __metadata__"));
  CHECK(error({{std::string("a\0b", 3), t}}).ends_with("tensor \"a\\u0000b\": a name cannot hold a NUL"));
  CHECK(error({{"\xff", t}}).ends_with("the name or metadata \"\\ufffd\" is not UTF-8"));
  CHECK(error({}, {{"k", "\xc3"}}).ends_with("is not UTF-8"));
  CHECK(error({{"a", {}}}).ends_with("tensor \"a\" is undefined"));
  CHECK(error({}, {{"large", std::string(100'000'000, 'a')}}).ends_with("bytes: must be at most 100000000"));
  CHECK(fs::is_empty(scratch.path));
}
