#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace heddle::cli {
namespace {

constexpr std::chrono::milliseconds between_bars{100};
constexpr std::chrono::seconds between_lines{10};

bool is_terminal() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
}

int terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string time_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(seconds));
  if (whole < 100) return std::to_string(whole) + " s";
  if (whole < 6000) return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + std::to_string(whole / 60 % 60) + " min";
}

}  // namespace

std::string progress_line(const std::string& label, int64_t done, int64_t total, const std::string& note,
                          double seconds_so_far, int columns) {
  constexpr int bar_width = 24;
  const double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1;
  const int filled = std::clamp(static_cast<int>(share * bar_width), 0, bar_width);
  std::string line = "[" + std::string(static_cast<size_t>(filled), '#') +
                     std::string(static_cast<size_t>(bar_width - filled), ' ') + "] " +
                     std::to_string(static_cast<int>(share * 100)) + " %  " + label + " " +
                     std::to_string(done) + "/" + std::to_string(total);
  if (!note.empty()) line += "  " + note;
  if (done > 0 && done < total) line += "  ~" + time_text(seconds_so_far * (1 / share - 1)) + " left";
  return line.substr(0, static_cast<size_t>(std::max(columns - 1, 0)));
}

Progress::Progress(std::string label, int64_t total)
    : label_(std::move(label)),
      total_(total),
      terminal_(is_terminal()),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() { hide(); }

void Progress::hide() {
  if (!shown_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  shown_ = false;
}

void Progress::update(int64_t done, const std::string& note) {
  const Clock::time_point now = Clock::now();
  if (now - last_ < (terminal_ ? Clock::duration(between_bars) : Clock::duration(between_lines))) return;
  last_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  if (terminal_) {
    const std::string line = progress_line(label_, done, total_, note, seconds, terminal_columns());
    std::fprintf(stderr, "\r%s\033[K", line.c_str());
    std::fflush(stderr);
    shown_ = true;
  } else {
    std::fprintf(stderr, "%s: %lld of %lld%s%s\n", label_.c_str(), static_cast<long long>(done),
                 static_cast<long long>(total_), note.empty() ? "" : ", ", note.c_str());
  }
}

}  // namespace heddle::cli
