// Runs the built `heddle` command as a user would.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "io/file.h"
#include "tests/temporary_folder.h"

namespace heddle::test {

struct CommandResult {
  int status = -1;  // exit status; 1000 + number when a signal ended it
  std::string out, error;
};

// A command that runs beside the test.
class RunningCommand {
 public:
  // Standard output goes to `out_file`, when given.
  explicit RunningCommand(const std::vector<std::string>& arguments, const std::string& out_file = "")
      : out_file_(out_file.empty() ? folder_ / "out" : out_file) {
    // There from the start, so that it can be read at any time.
    out_ = ::open(out_file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    error_ = ::open((folder_ / "error").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    child_ = ::fork();
    if (child_ < 0) throw std::runtime_error("cannot fork");
    if (child_ == 0) start(arguments);
  }
  ~RunningCommand() {
    ::close(out_);
    ::close(error_);
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  RunningCommand(const RunningCommand&) = delete;
  RunningCommand& operator=(const RunningCommand&) = delete;

  void signal(int number) const { ::kill(child_, number); }
  std::string output_so_far() const { return io::read_file(out_file_, uint64_t{1} << 30); }

  CommandResult wait() {
    int status = 0;
    ::waitpid(child_, &status, 0);
    child_ = -1;
    CommandResult result;
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    if (out_file_ == folder_ / "out") result.out = output_so_far();
    result.error = io::read_file(folder_ / "error", uint64_t{1} << 30);
    return result;
  }

 private:
  [[noreturn]] void start(const std::vector<std::string>& arguments) const {
    ::dup2(out_, STDOUT_FILENO);
    ::dup2(error_, STDERR_FILENO);
    std::vector<char*> argv = {const_cast<char*>(HEDDLE_COMMAND)};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    ::execv(HEDDLE_COMMAND, argv.data());
    ::_exit(127);
  }

  TemporaryFolder folder_;
  std::string out_file_;
  int out_ = -1, error_ = -1;
  pid_t child_ = -1;
};

inline CommandResult run_command(const std::vector<std::string>& arguments,
                                 const std::string& out_file = "") {
  return RunningCommand(arguments, out_file).wait();
}

// `heddle train` of a model that takes milliseconds, with more arguments behind.
inline std::vector<std::string> tiny_training(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"train", "--width", "8", "--layers", "1", "--heads",
                                        "2",     "--batch", "2", "--digits", "1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace heddle::test
