#include "tensor/directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "tensor/error.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr const char* decided = "next";
constexpr const char* undecided = "next.partial";

void check_done(const std::error_code& error, const fs::path& path, const char* what) {
  check(!error, "{}: {}: {}", path.string(), what, error.message());
}

// What a system call that has failed just now left in errno.
std::error_code error_unless(bool done) {
  return done ? std::error_code() : std::error_code(errno, std::generic_category());
}
int open_directory(const fs::path& directory) { return ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }

// New and changed names in the directory are safe after this.
void sync(const fs::path& directory) {
  const int number = open_directory(directory);
  const std::error_code error =
      error_unless(number >= 0 && (::fsync(number) == 0 || errno == EINVAL));  // EINVAL: not on this file system
  if (number >= 0) ::close(number);
  check_done(error, directory, "cannot be written");
}

std::vector<fs::path> entries(const fs::path& directory) {
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error))
    found.push_back(at->path().filename());
  check(!error || error == std::errc::no_such_file_or_directory, "{}: cannot be read: {}", directory.string(),
        error.message());
  return found;
}

}  // namespace

DirectoryUpdate::DirectoryUpdate(fs::path directory, std::function<void()> on_step)
    : directory_(std::move(directory)), partial_(directory_ / undecided), on_step_(std::move(on_step)) {
  std::error_code error;
  fs::create_directories(directory_, error);
  check_done(error, directory_, "cannot be made");
  finish_update(directory_, on_step_);
  fs::remove_all(partial_, error);
  check_done(error, partial_, "cannot be removed");
  fs::create_directory(partial_, error);
  check_done(error, partial_, "cannot be made");
  if (on_step_) on_step_();
}

DirectoryUpdate::~DirectoryUpdate() {
  std::error_code ignored;  // the next writer removes what is left
  if (!committed_) fs::remove_all(partial_, ignored);
}

void DirectoryUpdate::commit() {
  //@begin commit
  sync(partial_);
  std::error_code error;
  fs::rename(partial_, directory_ / decided, error);  // this decides
  check_done(error, partial_, "cannot be renamed");
  committed_ = true;
  if (on_step_) on_step_();
  finish_update(directory_, on_step_);
  //@end commit
}

DirectoryLock::DirectoryLock(const fs::path& directory) : file_(open_directory(directory)) {
  check_done(error_unless(file_ >= 0), directory, "cannot be opened");
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(file_);
  fail("{}: another run is at work there; wait until it ends, or choose another folder", directory.string());
}

DirectoryLock::~DirectoryLock() { ::close(file_); }

void finish_update(const fs::path& directory, const std::function<void()>& on_step) {
  const fs::path next = directory / decided;
  std::error_code error;
  // Readers and the writer may do this at the same time: what has gone was moved by another. Each file is moved once,
  // so it does not matter by whom; the folder can be removed when it is empty, and until then there is work left.
  while (fs::is_directory(next, error)) {
    sync(directory);  // first the decision, then its consequences
    for (const fs::path& name : entries(next)) {
      fs::rename(next / name, directory / name, error);
      if (error != std::errc::no_such_file_or_directory) check_done(error, directory / name, "cannot be replaced");
      if (on_step) on_step();
    }
    sync(directory);
    const bool removed = ::rmdir(next.c_str()) == 0;
    check(removed || errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST, "{}: cannot be removed: {}",
          next.string(), std::generic_category().message(errno));
    if (removed && on_step) on_step();
  }
}

}  // namespace switchyard
