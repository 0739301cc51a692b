// tensor/file: whole files or none, and errors that name the file and the reason.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <thread>
#include <vector>

#include "tensor/file.h"
#include "tests/scratch.h"

using namespace switchyard;
namespace fs = std::filesystem;

namespace {

std::ptrdiff_t files_in(const Scratch& scratch) { return std::distance(fs::directory_iterator(scratch.path), {}); }

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace

TEST_CASE("file: parts are written in order and read back") {
  const Scratch scratch;
  const fs::path path = scratch.path / "f";
  const std::vector<std::string_view> parts = {"one ", "", "two", std::string_view("\0\n", 2)};
  write_file(path, parts);
  CHECK(read_file(path) == std::string("one two\0\n", 9));
  const MappedFile old(path);
  write_file(path, "new");
  CHECK(read_file(path) == "new");
  CHECK(text_of(old) == std::string_view("one two\0\n", 9));  // who had the old file keeps it
  write_file(path, "");
  CHECK(read_file(path).empty());
  CHECK(MappedFile(path).bytes().empty());
  const std::string large(3'000'001, 'x');
  write_file(path, large);
  CHECK(read_file(path) == large);
  CHECK(files_in(scratch) == 1);
  const mode_t mask = umask(0);
  umask(mask);
  struct stat status = {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == (0666 & ~mask));
}

TEST_CASE("file: a long name, a link, and a name without a directory") {
  const Scratch scratch;
  write_file(scratch.path / std::string(255, 'n'), "long");
  write_file(scratch.path / "target", "old");
  fs::create_symlink("target", scratch.path / "link");
  write_file(scratch.path / "link", "through");
  CHECK(fs::is_symlink(scratch.path / "link"));
  CHECK(read_file(scratch.path / "target") == "through");
  const fs::path before = fs::current_path();
  fs::current_path(scratch.path);
  write_file("plain", "here");
  fs::current_path(before);
  CHECK(read_file(scratch.path / "plain") == "here");
  CHECK(files_in(scratch) == 4);
}

TEST_CASE("file: a mapping moves and leaves nothing behind") {
  const Scratch scratch;
  write_file(scratch.path / "a", "aa");
  write_file(scratch.path / "b", "bbb");
  MappedFile a(scratch.path / "a"), b(scratch.path / "b");
  MappedFile moved = std::move(a);
  CHECK(text_of(moved) == "aa");
  CHECK(a.bytes().empty());
  moved = std::move(b);
  CHECK(text_of(moved) == "bbb");
}

TEST_CASE("file: errors name the file and the reason") {
  const Scratch scratch;
  const std::string missing = (scratch.path / "missing").string(), directory = scratch.path.string();
  CHECK(error_of([&] { read_file(missing); }) == missing + ": cannot be read: No such file or directory");
  CHECK(error_of([&] { MappedFile{missing}; }) == missing + ": cannot be read: No such file or directory");
  CHECK(error_of([&] { read_file(directory); }) == directory + ": cannot be read: Is a directory");
  CHECK(error_of([&] { MappedFile{directory}; }) == directory + ": cannot be read: it is a directory");
  CHECK(error_of([&] { MappedFile{"/dev/null"}; }) == "/dev/null: cannot be read: it is not a regular file");
  CHECK(read_file("/dev/null").empty());
  CHECK(error_of([&] { write_file(missing + "/f", "x"); }) ==
        missing + "/f: cannot be written: No such file or directory");
  CHECK(error_of([&] { write_file(directory, "x"); }) == directory + ": cannot be written: it is a directory");
  CHECK(error_of([&] { write_file("/dev/null", "x"); }) == "/dev/null: cannot be written: it is not a regular file");
  if (geteuid() != 0) {  // root may write anywhere
    fs::permissions(scratch.path, fs::perms::owner_read | fs::perms::owner_exec);
    CHECK(error_of([&] { write_file(missing, "x"); }) == missing + ": cannot be written: Permission denied");
    fs::permissions(scratch.path, fs::perms::owner_all);
  }
  CHECK(files_in(scratch) == 0);
}

TEST_CASE("file: when there is no room the old file stays and nothing else does") {
  const Scratch scratch;
  const fs::path path = scratch.path / "f";
  write_file(path, "old");
  // A limit on the size of files fails a write half-way, as a full disk does.
  struct rlimit limit = {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {10'000, limit.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message = error_of([&] { write_file(path, std::string(50'000, 'x')); });
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::signal(SIGXFSZ, previous);
  CHECK(message.starts_with(path.string() + ": cannot be written: File too large; 50000 bytes are needed, "));
  CHECK(message.ends_with(" are free"));
  CHECK(read_file(path) == "old");
  CHECK(files_in(scratch) == 1);
}

TEST_CASE("file: several writers of one name leave one of their files") {
  const Scratch scratch;
  const fs::path path = scratch.path / "f";
  std::vector<std::thread> writers;
  for (char c : {'a', 'b', 'c', 'd'})
    writers.emplace_back([&path, c] {
      for (int i = 0; i < 5; ++i) write_file(path, std::string(20'000, c));
    });
  for (std::thread& writer : writers) writer.join();
  const std::string text = read_file(path);
  CHECK(text == std::string(20'000, text.at(0)));
  CHECK(files_in(scratch) == 1);
}
