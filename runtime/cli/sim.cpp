// heddle sim: questions to the simulated device that need no tensors.
#include "cli/command.h"

namespace heddle::cli {

void add_sim(CLI::App& app) {
  CLI::App* sim = app.add_subcommand("sim", "Ask the simulated device: how long, what bounds it, how sure");
  sim->require_subcommand(1);
  add_sim_replay(*sim);
  sim->footer("Example: heddle sim replay --all");
}

}  // namespace heddle::cli
