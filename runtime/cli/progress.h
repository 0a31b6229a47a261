// How far long work is: a bar that rewrites itself on a terminal, a line now and then elsewhere. On standard
// error, so that standard output holds results alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace heddle::cli {

class Progress {
 public:
  // `label` is what is being done: "cpu".
  Progress(std::string label, int64_t total);
  // Takes the bar away.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of `total` are behind us; `note` is a short figure: "loss 0.42". Cheap: shows something at most
  // every tenth of a second on a terminal, every ten seconds elsewhere.
  void update(int64_t done, const std::string& note);
  // Takes the bar away until the next update, for a line of output.
  void hide();

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  int64_t total_;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_, last_;
};

// "[#####     ] 50 %  cpu 5/10  loss 1.2  ~3 s left": what a bar shows, `columns` wide at most.
std::string progress_line(const std::string& label, int64_t done, int64_t total, const std::string& note,
                          double seconds_so_far, int columns);

}  // namespace heddle::cli
