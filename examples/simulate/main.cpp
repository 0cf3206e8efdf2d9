// SPDX-License-Identifier: MIT

// Which policy is best for your servers? See --help.

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <poise/error.hpp>

#include "../terminal.hpp"
#include "options.hpp"
#include "picture.hpp"
#include "report.hpp"
#include "run.hpp"

namespace {

using namespace simulate;

std::ofstream opened(std::string const& path) {
  std::ofstream file{path};
  if (!file) throw poise::ConfigError{"can't write " + poise::detail::in_quotes(path)};
  return file;
}

/// On a terminal all the time; else a line now and then, for logs.
void show_progress(std::size_t done, std::size_t all) {
  static bool const watched = examples::is_terminal(STDERR_FILENO);
  using Clock = std::chrono::steady_clock;
  static auto next = Clock::now() + std::chrono::seconds{10};
  if (watched) {
    fmt::print(stderr, "\r{} of {} simulations{}", done, all, done == all ? "\r\033[K" : "");
    std::fflush(stderr);
  } else if (Clock::now() >= next && done < all) {
    fmt::print(stderr, "{} of {} simulations\n", done, all);
    next = Clock::now() + std::chrono::seconds{10};
  }
}

void close(std::ofstream& file, std::string const& path) {
  if (!file.is_open()) return;
  file.close();
  if (!file) throw poise::ConfigError{"can't write all of " + poise::detail::in_quotes(path)};
}

void simulate_all(Options const& options) {
  // Opened before the work, so that a wrong path doesn't cost it.
  auto csv = options.csv.empty() ? std::ofstream{} : opened(options.csv);
  auto picture = options.picture.empty() ? std::ofstream{} : opened(options.picture);
  auto const tables = run(options.plan, show_progress);
  auto const columns = examples::columns_of_text();
  for (auto const& table : tables) fmt::print("{}\n", table_text(table, columns));
  fmt::print("{}", advice(tables, columns));
  if (csv.is_open()) write_csv(csv, tables, options.plan.seeds);
  if (picture.is_open())
    picture << (options.picture.ends_with(".svg") ? svg(tables) : html(tables));
  close(csv, options.csv);
  close(picture, options.picture);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto const options = parse({argv + 1, argv + argc});
    if (options.help) fmt::print("{}", help());
    else if (options.list) fmt::print("{}", list());
    else simulate_all(options);
    return 0;
  } catch (std::exception const& error) {
    fmt::print(stderr, "simulate: {}\n", error.what());
    return 1;
  }
}
