// heddle sim: questions to the simulated NeuronCore.
#include "cli/command.h"

namespace heddle::cli {

void add_sim(CLI::App& app) {
  CLI::App* sim = app.add_subcommand(
      "sim",
      "Ask the simulated NeuronCore how long something takes and why. All times are simulated: calibrated on "
      "public figures, never run on Trainium.");
  sim->require_subcommand(1);
  add_sim_gemm(*sim);
  add_sim_model(*sim);
  add_sim_replay(*sim);
  add_sim_calibrate(*sim);
  sim->footer("Example: heddle sim gemm --m 1024 --n 1024 --k 1024 --device trn1");
}

}  // namespace heddle::cli
