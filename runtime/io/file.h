// Files: reading them whole or in parts, and replacing them so that a crash leaves the old contents or the
// new. Every failure is an Error (io) naming the file and the system's reason.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace heddle::io {

// A regular file open for reading at any offset.
class InputFile {
 public:
  // Throws io: not there, not readable, a folder, a device.
  explicit InputFile(const std::string& file);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  uint64_t size() const { return size_; }
  // Fills `bytes` from `offset`; false when the file ends before (somebody shortened it).
  bool read(uint64_t offset, std::span<char> bytes) const;

 private:
  std::string file_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

// The whole of a file, or of a pipe until it ends. Throws io, also beyond `limit` bytes.
std::string read_file(const std::string& file, uint64_t limit);

// New contents for `file`, written beside it and put in its place by commit(); without commit() `file` stays
// as it was. Follows a symbolic link to the file it names and keeps an existing file's permissions.
class FileReplacement {
 public:
  // Throws io: no such folder, not writable, `file` is a folder or a device.
  explicit FileReplacement(const std::string& file);
  ~FileReplacement();
  FileReplacement(const FileReplacement&) = delete;
  FileReplacement& operator=(const FileReplacement&) = delete;

  void write(std::string_view bytes);
  // Flushes the contents to the disk, renames, and flushes the folder.
  void commit();

 private:
  std::string file_;       // as the caller named it, for messages
  std::string target_;     // links followed
  std::string temporary_;  // empty once committed
  int descriptor_ = -1;
};

// Throws what replacing `file` would throw: called before long work whose result goes there.
void expect_replaceable(const std::string& file);

}  // namespace heddle::io
