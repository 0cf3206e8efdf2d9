// SPDX-License-Identifier: MIT

#include "options.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <poise/base/nearest.hpp>

#include "../command_line.hpp"
#include "../terminal.hpp"
#include "policies.hpp"
#include "trace.hpp"

namespace simulate {

namespace {

namespace fs = std::filesystem;

/// The folder of scenarios that came with this program: from where it stands upwards.
std::optional<fs::path> scenario_folder() {
  std::error_code ignored;
  for (auto start : {fs::current_path(ignored), fs::read_symlink("/proc/self/exe", ignored)})
    for (; !start.empty(); start = start.parent_path()) {
      auto folder = start / "examples" / "scenarios";
      if (fs::is_directory(folder, ignored)) return folder;
      if (start == start.root_path()) break;
    }
  return std::nullopt;
}

std::string const no_folder =
    "there is no folder examples/scenarios here or above, nor above this program";

std::vector<std::string> own_scenarios() {
  std::vector<std::string> names;
  if (auto const folder = scenario_folder())
    for (auto const& entry : fs::directory_iterator{*folder})
      if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// Or a pipe.
bool is_file(fs::path const& path) {
  std::error_code ignored;
  return fs::exists(path, ignored) && !fs::is_directory(path, ignored);
}

/// A file, or one of ours by name.
fs::path path_of(std::string const& name) {
  if (is_file(name)) return name;
  if (auto const folder = scenario_folder())
    if (auto const path = *folder / (name + ".txt"); is_file(path)) return path;
  auto const own = own_scenarios();
  std::vector<std::string_view> known{own.begin(), own.end()};
  known.emplace_back("all");
  throw poise::ConfigError{
      "there is no scenario or file " + poise::detail::in_quotes(name) +
      (own.empty() ? "; " + no_folder : poise::detail::suggestion(name, known, "there are"))};
}

Scenario load(std::string const& name) {
  auto const path = path_of(name);
  std::ifstream file{path};
  if (!file) throw poise::ConfigError{"can't read " + poise::detail::in_quotes(path.string())};
  try {
    auto scenario = read_scenario(file, path.parent_path().string());
    if (scenario.name.empty()) scenario.name = path.stem().string();
    return scenario;
  } catch (poise::ConfigError const& error) {
    throw poise::ConfigError{path.string() + ": " + error.what()};
  }
}

/// "grey", or "grey@1s": with all times scaled so that the mean work is 1 s.
Case named_case(std::string const& text) {
  auto const at = is_file(text) ? text.size() : std::min(text.rfind('@'), text.size());
  auto scenario = load(text.substr(0, at));
  if (at == text.size()) return {scenario.name, scenario};
  auto const mean = detail::Line{1, ""}.duration("the mean after @", text.substr(at + 1), 1);
  return {scenario.name + text.substr(at), scenario.scaled(mean / scenario.work.mean)};
}

/// Splits at commas, but not within parentheses: a policy's text may hold some.
std::vector<std::string> split(std::string const& text) {
  std::vector<std::string> words{""};
  int depth = 0;
  for (char const letter : text) {
    depth += letter == '(' ? 1 : letter == ')' ? -1 : 0;
    if (letter == ',' && depth == 0) words.emplace_back();
    else words.back() += letter;
  }
  return words;
}

std::uint64_t whole(std::string const& option, std::string const& text) {
  std::uint64_t value = 0;
  auto const* end = text.data() + text.size();
  auto const [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end)
    throw poise::ConfigError{option + " is " + poise::detail::in_quotes(text) +
                             ", but must be a whole number"};
  return value;
}

void use_trace(Plan& plan, std::string const& file) {
  auto const work = detail::read_work(file);
  for (auto& each : plan.cases) {
    // The load stays what the scenario says; its times are as in the file.
    if (each.scenario.rate > 0) each.scenario.utilisation = each.scenario.load();
    each.scenario.rate = 0;
    each.scenario = each.scenario.scaled(work.mean / each.scenario.work.mean);
    each.scenario.work = work;
  }
}

std::vector<Case> cases_of(std::string const& text) {
  std::vector<Case> cases;
  for (auto const& word : split(text)) {
    if (word != "all") {
      cases.push_back(named_case(word));
      continue;
    }
    auto const own = own_scenarios();
    if (own.empty()) throw poise::ConfigError{"--scenario all: " + no_folder};
    for (auto const& name : own)
      for (auto const* mean : {"@100us", "@10ms", "@1s"}) cases.push_back(named_case(name + mean));
  }
  return cases;
}

}  // namespace

Options parse(std::vector<std::string> const& words) {
  std::vector<std::string_view> const all_options{"--policies", "--scenario", "--trace",
                                                  "--seeds",    "--csv",      "--picture",
                                                  "--threads",  "--list",     "--help"};
  Options options;
  std::string scenarios = "grey";
  std::string policies = "all";
  std::string trace;
  options.plan.seeds = {1, 2, 3, 4, 5};
  examples::CommandLine line{words};
  while (line.next()) {
    auto const& option = line.option();
    if (option == "--policies") policies = line.value();
    else if (option == "--scenario") scenarios = line.value();
    else if (option == "--trace") trace = line.value();
    else if (option == "--csv") options.csv = line.value();
    else if (option == "--picture") options.picture = line.value();
    else if (option == "--threads")
      options.plan.threads = static_cast<unsigned>(line.number(1, 1024));
    else if (option == "--seeds") {
      options.plan.seeds.clear();
      for (auto const& seed : split(line.value()))
        options.plan.seeds.push_back(whole(option, seed));
    } else if (option == "--list") {
      options.list = true;
    } else if (line.asks_for_help()) {
      options.help = true;
    } else {
      throw poise::ConfigError{"there is no option " + poise::detail::in_quotes(option) +
                               poise::detail::suggestion(option, all_options, "there are")};
    }
  }
  if (options.help || options.list) return options;
  if (!options.picture.empty() && !options.picture.ends_with(".svg") &&
      !options.picture.ends_with(".html"))
    throw poise::ConfigError{"--picture is " + poise::detail::in_quotes(options.picture) +
                             ", but must end in .svg or .html"};
  for (auto const& policy : split(policies))
    if (policy == "all")
      for (auto const& each : all_policies()) options.plan.policies.push_back(each);
    else options.plan.policies.push_back(policy);
  for (auto const& policy : options.plan.policies) (void)make_policy(policy);  // refuses bad ones
  options.plan.cases = cases_of(scenarios);
  if (!trace.empty()) use_trace(options.plan, trace);
  return options;
}

std::string help() {
  return R"(Which policy is best for your servers? Simulates them all in virtual time.

Every policy drives real balancers, one per client, against simulated servers;
nothing of a policy is written twice. Beside them stand bounds that no client
can reach: dispatchers that see all.

  --scenario NAME   a scenario of --list, a file, several with commas, or all
                    (default: grey). NAME@1s scales all its times so that the
                    mean work is 1 s
  --policies NAMES  policies of --list, with parameters if wanted, or all
                    (default)
  --trace FILE      work as in this file: one latency in ms a line
  --seeds 1,2,3     one run each; tables show medians (default: 1 to 5)
  --csv FILE        every run as a line
  --picture FILE    .svg or .html
  --threads N       default: all cores. The results don't depend on it
  --list            scenarios and policies
  --help            this text

Columns: latencies in ms as the client sees them; an error or timeout counts as
the timeout. Rows are folded to the terminal's width, else to $COLUMNS if set.
  err %      requests without a good answer
  imbal.     imbalance: the most tries per capacity that a server got, over the
             mean; 1 is even
  p99/bound  the median over seeds of p99 divided by the best bound's

docs/simulator.md explains the format of scenarios.
)";
}

std::string list() {
  std::string text = "Scenarios:\n";
  for (auto const& name : own_scenarios()) {
    std::ifstream file{path_of(name)};
    std::string about;
    std::getline(file, about);
    text += examples::list_item(name, about.starts_with("# ") ? about.substr(2) : "",
                                examples::columns_of_text());
  }
  return text + "\nPolicies:\n" + list_of_policies();
}

}  // namespace simulate
