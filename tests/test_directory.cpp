// Several files replaced together: whatever the moment at which a writer stops, a reader finds one generation whole.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "tensor/directory.h"
#include "tensor/error.h"
#include "tensor/file.h"
#include "tests/scratch.h"

using namespace switchyard;
namespace fs = std::filesystem;

namespace {

const std::string names[] = {"a", "b", "c"};

// Writes generation g of all files; each holds the number.
void save(const fs::path& dir, int g, const std::function<void()>& on_step = {}) {
  DirectoryUpdate update(dir, on_step);
  for (const std::string& name : names) {
    std::ofstream(update.file(name)) << g;  // without a wait for the disk
    if (on_step) on_step();
  }
  update.commit();
}

// The generation that a reader finds; -1: no files at all. Fails if the files differ or any is missing.
int generation(const fs::path& dir) {
  finish_update(dir);
  std::set<std::string> found;
  for (const std::string& name : names) found.insert(fs::exists(dir / name) ? read_file(dir / name) : "-1");
  REQUIRE(found.size() == 1);
  return std::stoi(*found.begin());
}

std::set<std::string> listing(const fs::path& dir) {
  std::set<std::string> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(dir)) found.insert(entry.path().filename().string());
  return found;
}

}  // namespace

TEST_CASE("directory: an update replaces its files and leaves the others") {
  const Scratch scratch;
  const fs::path dir = scratch.path / "new" / "deep";
  finish_update(dir);  // a missing directory is no error
  save(dir, 1);
  CHECK(generation(dir) == 1);
  std::ofstream(dir / "other") << "kept";
  save(dir, 2);
  CHECK(generation(dir) == 2);
  CHECK(read_file(dir / "other") == "kept");
  CHECK(listing(dir) == std::set<std::string>{"a", "b", "c", "other"});
}

TEST_CASE("directory: without commit nothing has happened") {
  const Scratch scratch;
  save(scratch.path, 1);
  {
    DirectoryUpdate update(scratch.path);
    write_file(update.file("a"), "2");
  }
  CHECK(generation(scratch.path) == 1);
  CHECK(listing(scratch.path) == std::set<std::string>{"a", "b", "c"});
}

TEST_CASE("directory: a stop after any step leaves the old files or the new ones, and the next writer goes on") {
  for (const int before : {-1, 1}) {  // a first save, and one over an older one
    const Scratch scratch;
    const fs::path dir = scratch.path / "dir", copies = scratch.path / "copies";
    fs::create_directories(copies);
    if (before == 1) save(dir, 1);
    int steps = 0;
    save(dir, 2, [&] { fs::copy(dir, copies / std::to_string(steps++), fs::copy_options::recursive); });
    REQUIRE(steps == 1 + 3 + 1 + 3 + 1);  // folder, 3 files, decision, 3 moves, folder removed
    for (int step = 0; step < steps; ++step) {
      CAPTURE(step);
      const fs::path copy = copies / std::to_string(step), again = copies / "again";
      fs::copy(copy, again, fs::copy_options::recursive);
      const int found = generation(copy);
      CHECK(found == (step < 4 ? before : 2));  // step 4 is the decision
      CHECK(generation(copy) == found);         // reading twice changes nothing
      save(again, 3);                           // a writer that starts here, before any reader
      CHECK(generation(again) == 3);
      CHECK(listing(again) == std::set<std::string>{"a", "b", "c"});
      fs::remove_all(again);
    }
  }
}

TEST_CASE("directory: a reader does not disturb a writer at work") {
  const Scratch scratch;
  save(scratch.path, 1);
  save(scratch.path, 2, [&] { finish_update(scratch.path); });
  CHECK(generation(scratch.path) == 2);
  CHECK(listing(scratch.path) == std::set<std::string>{"a", "b", "c"});
}

TEST_CASE("directory: a writer killed at any moment leaves one generation whole") {
  const Scratch scratch;
  const fs::path dir = scratch.path / "dir";
  int last = -1;
  for (int round = 0; round < 20; ++round) {
    const pid_t writer = fork();
    REQUIRE(writer >= 0);
    if (writer == 0) {
      for (int g = last + 1;; ++g) save(dir, g);
    }
    usleep(static_cast<useconds_t>(500 + 1700 * round));
    kill(writer, SIGKILL);
    waitpid(writer, nullptr, 0);
    const int found = generation(dir);
    CHECK(found >= last);
    last = found;
  }
  MESSAGE("generations written: " << last + 1);
}

TEST_CASE("directory: errors name the path") {
  const Scratch scratch;
  std::ofstream(scratch.path / "file") << "x";
  CHECK(error_of([&] { save(scratch.path / "file", 1); }).starts_with((scratch.path / "file").string() + ": "));
  save(scratch.path / "dir", 1);
  fs::remove(scratch.path / "dir" / "b");
  fs::create_directory(scratch.path / "dir" / "b");
  std::ofstream(scratch.path / "dir" / "b" / "inside") << "x";
  CHECK(error_of([&] { save(scratch.path / "dir", 2); }).starts_with((scratch.path / "dir" / "b").string() + ": "));
}

TEST_CASE("directory: a lock keeps everybody else out until its owner lets go") {
  const Scratch scratch;
  {
    const DirectoryLock lock(scratch.path);
    CHECK_THROWS_WITH_AS(DirectoryLock{scratch.path}, doctest::Contains(scratch.path.string().c_str()), Error);
    fs::create_directory(scratch.path / "within");
    const DirectoryLock another(scratch.path / "within");  // a folder of its own
    save(scratch.path, 1);                                 // updates are the owner's business
    CHECK(generation(scratch.path) == 1);
  }
  const DirectoryLock again(scratch.path);
  CHECK(listing(scratch.path) == std::set<std::string>{"a", "b", "c", "within"});  // nothing is left of a lock
  CHECK_THROWS_AS(DirectoryLock(scratch.path / "missing"), Error);
}

TEST_CASE("directory: the lock of a killed process is free") {
  const Scratch scratch;
  int pipes[2];
  REQUIRE(pipe(pipes) == 0);
  const pid_t owner = fork();
  if (owner == 0) {
    const DirectoryLock lock(scratch.path);
    if (write(pipes[1], "x", 1) != 1) _exit(1);
    pause();
  }
  char locked;
  REQUIRE(read(pipes[0], &locked, 1) == 1);
  CHECK_THROWS_AS(DirectoryLock{scratch.path}, Error);
  kill(owner, SIGKILL);
  waitpid(owner, nullptr, 0);
  const DirectoryLock free(scratch.path);
  close(pipes[0]), close(pipes[1]);
}
