#include "tensor/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "tensor/error.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

std::string reason(int error) { return std::generic_category().message(error); }

// Closed at the end of its scope.
struct Descriptor {
  int number;
  explicit Descriptor(int opened) : number(opened) {}
  Descriptor(const Descriptor&) = delete;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

// The file that stands in for `path` until all of it is written; removed unless it took the name.
class Temporary {
 public:
  Temporary(const fs::path& target, uint64_t bytes)
      : directory_(target.has_parent_path() ? target.parent_path() : "."), bytes_(bytes), file_(create()) {
    if (file_.number < 0) fail_writing(target);
  }
  ~Temporary() { remove(); }

  void write(const fs::path& target, std::string_view part) {
    while (!part.empty()) {
      const ssize_t written = ::write(file_.number, part.data(), part.size());
      if (written < 0 && errno != EINTR) fail_writing(target);
      if (written > 0) part.remove_prefix(static_cast<size_t>(written));
    }
  }

  void become(const fs::path& target) {
    if (::fsync(file_.number) != 0) fail_writing(target);
    // Some network file systems report a full disk only here.
    if (::close(std::exchange(file_.number, -1)) != 0) fail_writing(target);
    if (::rename(path_.c_str(), target.c_str()) != 0) fail_writing(target);
    path_.clear();
    // The new name is safe once the directory is on disk; EINVAL: this file system has no such operation.
    const Descriptor directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.number >= 0 && ::fsync(directory.number) != 0 && errno != EINVAL) fail_writing(target);
  }

 private:
  int create() {
    for (int attempt = 0;; ++attempt) {  // a short name of its own fits wherever the target's does
      path_ = directory_ / fmt::format(".switchyard-{}-{}.tmp", ::getpid(), attempt);
      const int number = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (number < 0 && errno == EEXIST) continue;
      if (number < 0) path_.clear();
      return number;
    }
  }
  void remove() {
    if (!path_.empty()) ::unlink(path_.c_str());
    path_.clear();
  }
  [[noreturn]] void fail_writing(const fs::path& target) {
    const int error = errno;
    remove();
    const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    if (!full) fail("{}: cannot be written: {}", target.string(), reason(error));
    std::error_code unknown;
    // The descriptor still holds the removed file's blocks: give them back before asking what is free.
    if (file_.number >= 0) ::close(std::exchange(file_.number, -1));
    fail("{}: cannot be written: {}; {} bytes are needed, {} are free", target.string(), reason(error), bytes_,
         fs::space(directory_, unknown).available);
  }

  fs::path directory_, path_;
  uint64_t bytes_;
  Descriptor file_;
};

}  // namespace

void write_file(const fs::path& path, std::span<const std::string_view> parts) {
  std::error_code unknown;
  const fs::path target = fs::is_symlink(path, unknown) ? fs::weakly_canonical(path, unknown) : path;
  const fs::file_status status = fs::status(target, unknown);
  // To rename over a device or a pipe would replace it.
  check(!fs::exists(status) || fs::is_regular_file(status), "{}: cannot be written: {}", path.string(),
        fs::is_directory(status) ? "it is a directory" : "it is not a regular file");
  uint64_t bytes = 0;
  for (std::string_view part : parts) bytes += part.size();
  Temporary temporary(target, bytes);
  for (std::string_view part : parts) temporary.write(target, part);
  temporary.become(target);
}

void write_file(const fs::path& path, std::string_view text) { write_file(path, {&text, 1}); }

std::string read_file(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status = {};
  if (file.number < 0 || ::fstat(file.number, &status) != 0)
    fail("{}: cannot be read: {}", path.string(), reason(errno));
  std::string text;
  for (size_t have = 0;;) {
    // One byte more than the size that was promised, so that the end shows itself without another round.
    text.resize(have + (have == 0 && S_ISREG(status.st_mode) ? static_cast<size_t>(status.st_size) + 1 : 65536));
    const ssize_t got = ::read(file.number, text.data() + have, text.size() - have);
    if (got < 0 && errno != EINTR) fail("{}: cannot be read: {}", path.string(), reason(errno));
    if (got > 0) have += static_cast<size_t>(got);
    text.resize(have);
    if (got == 0) return text;
  }
}

namespace {

// FNV-1a (Fowler, Noll and Vo) on words of eight bytes instead of single ones, which is eight times as fast; what is
// shifted down lets high bits of a word reach low ones of the sum. The length ends it.
class Checksum {
 public:
  // All pieces but the last are whole words.
  void add(std::span<const std::byte> bytes) {
    size_t at = 0;
    for (; at + 8 <= bytes.size(); at += 8) {
      uint64_t word;
      std::memcpy(&word, bytes.data() + at, 8);
      add(word);
    }
    for (; at < bytes.size(); ++at) add(static_cast<uint64_t>(bytes[at]));
    length_ += bytes.size();
  }
  uint64_t sum() {
    add(length_);
    return sum_;
  }

 private:
  void add(uint64_t word) {
    sum_ = (sum_ ^ word) * 1099511628211u;
    sum_ ^= sum_ >> 32;
  }
  uint64_t sum_ = 14695981039346656037u, length_ = 0;
};

}  // namespace

uint64_t checksum(std::span<const std::byte> bytes) {
  Checksum whole;
  whole.add(bytes);
  return whole.sum();
}

uint64_t checksum(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.number < 0) fail("{}: cannot be read: {}", path.string(), reason(errno));
  Checksum sum;
  std::vector<std::byte> buffer(size_t{1} << 20);
  for (size_t have = 0;;) {
    const ssize_t got = ::read(file.number, buffer.data() + have, buffer.size() - have);
    if (got < 0 && errno != EINTR) fail("{}: cannot be read: {}", path.string(), reason(errno));
    if (got > 0) have += static_cast<size_t>(got);
    if (have < buffer.size() && got != 0) continue;
    sum.add(std::span(buffer).first(have));
    have = 0;
    if (got == 0) return sum.sum();
  }
}

MappedFile::MappedFile(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // never waits for a pipe's writer
  struct stat status = {};
  if (file.number < 0 || ::fstat(file.number, &status) != 0)
    fail("{}: cannot be read: {}", path.string(), reason(errno));
  check(S_ISREG(status.st_mode), "{}: cannot be read: {}", path.string(),
        S_ISDIR(status.st_mode) ? "it is a directory" : "it is not a regular file");
  const size_t size = static_cast<size_t>(status.st_size);
  if (size == 0) return;  // mmap() refuses no bytes
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (data == MAP_FAILED) fail("{}: cannot be mapped: {}", path.string(), reason(errno));
  bytes_ = {static_cast<const std::byte*>(data), size};
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace switchyard
