// The `heddle` command. Exit status: 0 done, 1 it failed, 2 the command line cannot be meant.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <exception>
#include <iostream>
#include <new>
#include <string>

#include "cli/command.h"
#include "heddle/error.h"

namespace {

constexpr int failure = 1, usage = 2;

int fail(int status, const std::string& text) {
  std::cerr << "heddle: " << text << std::endl;
  return status;
}

// "heddle train" of the deepest subcommand that was reached.
const CLI::App& deepest(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : deepest(*chosen.front());
}
std::string reached(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return app.get_name() + (chosen.empty() ? "" : " " + reached(*chosen.front()));
}

std::string subcommands(const CLI::App& app) {
  std::string names;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    names += (names.empty() ? "" : ", ") + sub->get_name();
  return names;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Runs one tensor graph, unchanged, on any device: the CPU, a simulated accelerator, a plugin's.",
      "heddle");
  app.require_subcommand(1);
  app.set_version_flag("--version", HEDDLE_VERSION);
  app.footer("Example: heddle train --device cpu --device trn1");
  heddle::cli::add_train(app);
  heddle::cli::add_devices(app);
  heddle::cli::add_explain(app);
  heddle::cli::add_ops(app);
  heddle::cli::add_conform(app);
  heddle::cli::add_sim(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help, --version
    const int status = app.exit(e);
    std::cout.flush();
    return std::cout ? status : fail(failure, "standard output cannot be written");
  } catch (const CLI::ParseError& e) {
    const CLI::App& last = deepest(app);
    const bool takes_subcommands = !last.get_subcommands([](const CLI::App*) { return true; }).empty();
    const std::vector<std::string> remaining = app.remaining(true);
    if (takes_subcommands && !remaining.empty() && remaining.front() != last.get_name())
      return fail(usage,
                  "there is no subcommand '" + remaining.front() + "'; there are: " + subcommands(last));
    return fail(usage, std::string(e.what()) + " (see " + reached(app) + " --help)");
  } catch (const heddle::cli::UsageError& e) {
    return fail(usage, e.what());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file beyond the limit is an error of the write, which says so
  // Standard output belongs to results.
  spdlog::set_default_logger(spdlog::stderr_color_mt("heddle"));
  spdlog::set_pattern("heddle: %l: %v");
  try {
    return run(argc, argv);
  } catch (const heddle::Error& e) {
    // The library names its own remedy; this is the command's.
    const bool refused = e.code() == heddle::ErrorCode::unsupported &&
                         std::string(e.what()).find("Fallback::allow") != std::string::npos;
    return fail(failure, std::string(e.what()) + (refused ? "\non the command line: --fallback cpu" : ""));
  } catch (const std::bad_alloc&) {
    return fail(failure, "the host's memory is exhausted; use a smaller model or batch");
  } catch (const std::exception& e) {
    return fail(failure, std::string("internal error, please report it: ") + e.what());
  }
}
