// Several files of one directory, replaced together: after a crash or a kill at any moment, a reader finds all of the
// old ones or all of the new ones.
#pragma once
#include <filesystem>
#include <functional>
#include <string>

namespace switchyard {

// One update of the directory DIR. Its files are written into DIR/next.partial and reach the disk; that folder is
// renamed to DIR/next, and this one step decides: before it the old files hold, after it the new ones. Then each file
// is renamed into DIR, and the empty DIR/next is removed. Files of DIR that the update does not name stay.
// One writer at a time; readers call finish_update() first and may do so at any time.
class DirectoryUpdate {
 public:
  // Makes DIR if it is missing, finishes what an earlier writer had decided, and removes what it had not.
  // `on_step` is called after each change of the directory, for tests.
  explicit DirectoryUpdate(std::filesystem::path directory, std::function<void()> on_step = {});
  // Without commit() the update is given up: DIR is as before.
  ~DirectoryUpdate();
  DirectoryUpdate(const DirectoryUpdate&) = delete;
  DirectoryUpdate& operator=(const DirectoryUpdate&) = delete;

  // Where to write the new file `name` of DIR. It must be written to the disk, as write_file() does.
  std::filesystem::path file(const std::string& name) const { return partial_ / name; }
  // Makes the update hold. Error if the disk refuses: then either none of it holds, or finish_update() can go on.
  void commit();

 private:
  std::filesystem::path directory_, partial_;
  std::function<void()> on_step_;
  bool committed_ = false;
};

// Keeps a directory to its owner while it lives: whoever locks it too, in this process or another, gets an Error. The
// system lets go of it when the process ends, however that ends, and nothing is left on the disk. A file system without
// locks locks nothing.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int file_;
};

// Finishes an update of DIR that was decided and then cut short; nothing to do is no error, nor is a missing DIR.
// It leaves next.partial alone: a writer may be at work. Error: a file could not be moved (DIR is read-only, say).
void finish_update(const std::filesystem::path& directory, const std::function<void()>& on_step = {});

}  // namespace switchyard
