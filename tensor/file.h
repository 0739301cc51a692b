// Whole files: written so that a reader never sees half of one, read, and mapped into memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace switchyard {

// Writes the parts, one after the other, as the file `path`. The bytes go to a temporary file in the same directory,
// reach the disk (fsync) and then take the name, so that a crash leaves the old file or the new one, never a mixture.
// A symbolic link stays and its target is replaced. Error, with the temporary file removed: no such directory, no
// permission, `path` is no regular file, disk full (the message says how many bytes are needed and how many are free).
void write_file(const std::filesystem::path& path, std::span<const std::string_view> parts);
void write_file(const std::filesystem::path& path, std::string_view text);

// All bytes of the file; pipes and devices are read to their end. Error if it is missing, a directory or unreadable.
std::string read_file(const std::filesystem::path& path);

// A number that another content has not: for telling damage, not for keeping out an enemy.
uint64_t checksum(std::span<const std::byte> bytes);
// The same of a file's bytes, of which it holds a few at a time.
uint64_t checksum(const std::filesystem::path& path);

// A regular file as read-only memory: nothing is read before it is touched. Whoever shortens the file in place while
// it is mapped kills the process (SIGBUS); write_file() does not, for it leaves the old file to those who hold it.
class MappedFile {
 public:
  // Error if the file is missing, not a regular file or unreadable. An empty file is no bytes.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace switchyard
