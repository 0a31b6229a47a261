#include "io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "heddle/error.h"

namespace heddle::io {
namespace {

// Linux moves at most 0x7ffff000 bytes per call.
constexpr size_t largest_transfer = size_t{1} << 30;

[[noreturn]] void refuse(const std::string& doing, const std::string& file, const std::string& reason) {
  throw Error(ErrorCode::io, "cannot " + doing + " '" + file + "': " + reason);
}

std::string reason_of(int error) { return std::generic_category().message(error); }

// Why a file that is not a regular one is refused.
std::string kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "it is a folder";
  return "it is not a regular file";
}

// One transfer that signals do not break off; -1 with errno set.
template <class Transfer>
ssize_t uninterrupted(Transfer transfer) {
  for (;;) {
    const ssize_t moved = transfer();
    if (moved >= 0 || errno != EINTR) return moved;
  }
}

// What a link leads to, whether it exists or not: the link itself is never replaced.
std::string follow_links(const std::string& file) {
  constexpr int most_links = 40;  // as Linux follows
  std::error_code error;
  std::filesystem::path path = file;
  for (int links = 0; std::filesystem::is_symlink(path, error); ++links) {
    if (links == most_links) refuse("write", file, reason_of(ELOOP));
    const std::filesystem::path to = std::filesystem::read_symlink(path, error);
    if (error) refuse("write", file, error.message());
    path = to.is_absolute() ? to : path.parent_path() / to;
  }
  return path.string();
}

constexpr const char* temporary_mark = ".tmp.";

// Removes what killed processes left of this file. A process of another machine has a number of its own, so
// only files that are an hour old go.
void remove_leftovers(const std::filesystem::path& target) {
  const std::string prefix = target.filename().string() + temporary_mark;
  const auto old = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  std::error_code error;
  const std::filesystem::path parent = target.parent_path();
  std::filesystem::directory_iterator folder(parent.empty() ? "." : parent, error), end;
  for (; !error && folder != end; folder.increment(error)) {
    const std::string name = folder->path().filename().string();
    if (!name.starts_with(prefix)) continue;
    const long process = std::strtol(name.c_str() + prefix.size(), nullptr, 10);
    std::error_code ignored;
    if (process > 0 && ::kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH &&
        folder->last_write_time(ignored) < old)
      std::filesystem::remove(folder->path(), ignored);
  }
}

}  // namespace

InputFile::InputFile(const std::string& file) : file_(file) {
  // O_NONBLOCK: opening a pipe that nobody writes must not hang before it is refused.
  descriptor_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) refuse("read", file, reason_of(errno));
  struct stat status {};
  const int failed = ::fstat(descriptor_, &status) < 0 ? errno : 0;
  if (failed != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    refuse("read", file, failed != 0 ? reason_of(failed) : kind_of(status.st_mode));
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

InputFile::~InputFile() { ::close(descriptor_); }

bool InputFile::read(uint64_t offset, std::span<char> bytes) const {
  while (!bytes.empty()) {
    const ssize_t moved = uninterrupted([&] {
      return ::pread(descriptor_, bytes.data(), std::min(bytes.size(), largest_transfer),
                     static_cast<off_t>(offset));
    });
    if (moved < 0) refuse("read", file_, reason_of(errno));
    if (moved == 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(moved));
    offset += static_cast<uint64_t>(moved);
  }
  return true;
}

std::string read_file(const std::string& file, uint64_t limit) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) refuse("read", file, reason_of(errno));
  std::string contents;
  std::string block(size_t{1} << 16, '\0');
  for (;;) {
    const ssize_t moved = uninterrupted([&] { return ::read(descriptor, block.data(), block.size()); });
    const int failed = moved < 0 ? errno : 0;
    if (moved > 0 && contents.size() + static_cast<size_t>(moved) <= limit) {
      contents.append(block, 0, static_cast<size_t>(moved));
      continue;
    }
    ::close(descriptor);
    if (failed != 0) refuse("read", file, reason_of(failed));
    if (moved > 0) refuse("read", file, "it is longer than " + std::to_string(limit) + " bytes");
    return contents;
  }
}

FileReplacement::FileReplacement(const std::string& file) : file_(file), target_(follow_links(file)) {
  if (file.empty()) refuse("write", file, "a file name is needed");
  struct stat status {};
  const bool exists = ::stat(target_.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode)) refuse("write", file, kind_of(status.st_mode));
  if (exists && ::access(target_.c_str(), W_OK) != 0) refuse("write", file, reason_of(errno));
  remove_leftovers(target_);
  // Several threads and processes may write files of one folder; EEXIST means a leftover of a killed process
  // that had the same number.
  static std::atomic<unsigned> count{0};
  do {
    temporary_ = target_ + temporary_mark + std::to_string(::getpid()) + "." + std::to_string(count++);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) {
    temporary_.clear();
    refuse("write", file, reason_of(errno));
  }
  // Best effort: file systems without permissions refuse, and the contents matter more.
  if (exists) [[maybe_unused]]
    const int ignored = ::fchmod(descriptor_, status.st_mode & 07777);
}

FileReplacement::~FileReplacement() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void FileReplacement::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t moved = uninterrupted(
        [&] { return ::write(descriptor_, bytes.data(), std::min(bytes.size(), largest_transfer)); });
    if (moved < 0) refuse("write", file_, reason_of(errno));
    bytes.remove_prefix(static_cast<size_t>(moved));
  }
}

void FileReplacement::commit() {
  if (::fsync(descriptor_) != 0) refuse("write", file_, reason_of(errno));
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) refuse("write", file_, reason_of(errno));
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) refuse("write", file_, reason_of(errno));
  temporary_.clear();
  // The rename is on the disk only when its folder is.
  const std::filesystem::path parent = std::filesystem::path(target_).parent_path();
  const std::string folder = parent.empty() ? std::string(1, '.') : parent.string();
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // a folder one may write to but not read: nothing more can be done
  const int failed = ::fsync(descriptor) != 0 ? errno : 0;
  ::close(descriptor);
  if (failed != 0 && failed != EINVAL)  // EINVAL: the file system does not flush folders
    refuse("flush", folder, reason_of(failed));
}

void expect_replaceable(const std::string& file) { const FileReplacement probe(file); }

}  // namespace heddle::io
