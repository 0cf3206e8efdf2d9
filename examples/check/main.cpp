// SPDX-License-Identifier: MIT
// check: is this configuration right, what does it mean, and what would it change?

#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/config/diff.hpp>
#include <poise/config/effective.hpp>
#include <poise/config/envoy.hpp>
#include <poise/config/grpc.hpp>
#include <poise/config/node.hpp>
#include <poise/config/reference.hpp>
#include <poise/config/schema.hpp>
#include <poise/config/text.hpp>
#include <poise/config/translation.hpp>
#include <poise/discovery/files.hpp>
#include <poise/error.hpp>

#include "../command_line.hpp"

namespace {

namespace config = poise::config;

constexpr char const* usage = R"help(usage:
  check FILE                  is it right? One line for each problem, all of them at once
  check FILE --effective      every field with its value and where that came from, as TOML
  check FILE --diff OLD       what a reload from OLD to FILE would change
  check FILE --explain KEY    the same for one field, with what it means; also without FILE
  check FILE --from envoy     an Envoy cluster (JSON) as a poise file; what has no counterpart
                              stands in comments
  check FILE --from grpc      the same of a gRPC service config
             --source TEXT    where backends come from if FILE has none, such as dns:web:80
  check --schema              a JSON Schema, for editors that complete and check
  check --reference           all fields as Markdown, as docs/configuration.md has them
  check --help

FILE is TOML, or JSON if it begins with {. The smallest one that works:

  [[backends]]
  address = "10.0.0.1:80"

With a policy, a registry instead of a list, probes and retries:

  policy = "p2c(load=peak_ewma)"
  source = "consul:http://127.0.0.1:8500/web"

  [probe]
  kind = "http"
  path = "/up"
  interval = "2s"

  [retry]
  attempts = 3

Durations have units ("250ms", "1m30s"), fractions are 0.5 or "50%". A key that begins with x- is
yours. A problem looks like this, so that editors jump to it:

  web.toml:8:12: probe.interval is 2: use a duration with its unit, such as "250ms" or "1m30s", ...

Try it:
  check web.toml --effective > full.toml && check full.toml --diff web.toml    # prints nothing
  check --explain probe.interval
  check --schema > poise.schema.json    # then "$schema": "./poise.schema.json" in a JSON file

Status 0: it is right. 2: it is not, or the command line is not.
)help";

struct Options {
  std::string file{};
  std::string old{};
  std::string key{};
  std::string from{};
  std::string source{};
  bool effective = false;
  bool schema = false;
  bool reference = false;
  bool help = false;
};

class Wrong : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

Options parse(std::vector<std::string> words) {
  Options options;
  examples::CommandLine line{std::move(words)};
  while (line.next()) {
    auto const& word = line.option();
    if (line.asks_for_help()) options.help = true;
    else if (word == "--effective") options.effective = true;
    else if (word == "--schema") options.schema = true;
    else if (word == "--reference") options.reference = true;
    else if (word == "--diff") options.old = line.value();
    else if (word == "--explain") options.key = line.value();
    else if (word == "--from") options.from = line.value();
    else if (word == "--source") options.source = line.value();
    else if (line.is_option())
      throw line.unknown(
          "there are --effective, --diff, --explain, --from, --source, --schema, --reference and "
          "--help");
    else if (!options.file.empty()) throw Wrong{"one FILE at a time; see --help"};
    else options.file = word;
  }
  bool const wants_file = options.effective || !options.old.empty() || !options.from.empty();
  bool const alone = options.schema || options.reference || options.help || !options.key.empty();
  if (options.file.empty() && !alone) throw Wrong{"a FILE is missing; see --help"};
  if (options.file.empty() && wants_file)
    throw Wrong{"--effective, --diff and --from want a FILE; see --help"};
  bool const translates = options.from == "envoy" || options.from == "grpc";
  if (!translates && !(options.from.empty() && options.source.empty()))
    throw Wrong{"--from is \"" + options.from + "\": use envoy or grpc; --source goes with it"};
  return options;
}

/// Prints the problems; true if there are none.
bool is_right(std::string const& file, config::Document const& document) {
  for (auto const& each : document.problems) std::cerr << message(file, each) << '\n';
  return document.valid();
}

void explain(std::string const& key, config::Document const* document) {
  std::cout << config::explanation(key);
  if (document == nullptr || key.starts_with("backends.")) return;
  for (auto const& section : config::sections())
    for (auto const& field : section.fields)
      if (config::path_of(section.name, field.key) == key)
        std::cout << "  here " << written(field.kind, field.get(document->settings)) << " ("
                  << config::detail::origin_of(*document, key) << ")\n";
}

/// Prints a foreign file as one of poise.
int translate(Options const& options) {
  auto const file = poise::discovery::detail::read_file(options.file, config::max_file);
  if (!file.error.empty()) throw Wrong{file.error};
  auto const result = options.from == "envoy" ? config::read_envoy(file.text, options.source)
                                              : config::read_grpc(file.text, options.source);
  if (!is_right(options.file, result.document)) return 2;
  std::cout << given(result);
  return 0;
}

int check(Options const& options) {
  auto const document = config::read_file(options.file);
  if (!is_right(options.file, document)) return 2;
  if (options.effective) std::cout << effective(document);
  if (!options.key.empty()) explain(options.key, &document);
  if (options.old.empty()) return 0;
  auto const old = config::read_file(options.old);
  if (!is_right(options.old, old)) return 2;
  for (auto const& each : differences(old.settings, document.settings))
    std::cout << message(each) << '\n';
  return 0;
}

int run(Options const& options) {
  if (options.help) std::cout << usage;
  if (options.schema) std::cout << config::schema();
  if (options.reference) std::cout << config::reference();
  if (!options.from.empty()) return translate(options);
  if (!options.file.empty()) return check(options);
  if (!options.key.empty()) explain(options.key, nullptr);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse({argv + 1, argv + argc}));
  } catch (std::exception const& error) {
    std::cerr << "check: " << error.what() << '\n';
    return 2;
  }
}
