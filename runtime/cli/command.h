// The subcommands of `heddle`: one file each, which registers itself on the app and runs when it is chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <stdexcept>
#include <string>

namespace heddle::cli {

// A command line that cannot be meant: exit status 2, where every other failure is 1.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void add_devices(CLI::App& app);
void add_train(CLI::App& app);
void add_explain(CLI::App& app);
void add_ops(CLI::App& app);
void add_conform(CLI::App& app);
void add_sim(CLI::App& app);

// Of `heddle sim`.
void add_sim_gemm(CLI::App& sim);
void add_sim_model(CLI::App& sim);
void add_sim_replay(CLI::App& sim);
void add_sim_calibrate(CLI::App& sim);

}  // namespace heddle::cli
