// SPDX-License-Identifier: MIT
// database: bank transfers against a primary and its replicas, with a line per second and server.
//
//   database --hosts 10.0.0.1:5432,10.0.0.2:5432,10.0.0.3:5432 --settings "dbname=test user=me"
//
// It drops and makes the tables poise_accounts and poise_clients. Pause a replica's replay, kill
// the primary, promote a replica, start the old primary again: with tokens no client ever misses
// its own transfer, and no money comes or goes.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <poise/endpoint.hpp>
#include <poise/postgres/connection.hpp>
#include <poise/sql/database.hpp>
#include <poise/ticker.hpp>

#include "bank.hpp"
#include "command_line.hpp"

namespace {

using namespace std::chrono_literals;
using poise::sql::Role;

struct Options {
  std::vector<std::string> hosts{};
  std::string settings = "dbname=postgres user=postgres";
  bool tokens = true;
  std::uint64_t seconds = 10;
  std::uint64_t rate = 200;
  std::uint64_t clients = 8;
};

constexpr std::string_view help =
    "database --hosts host:port,... [--settings \"dbname=... user=...\"] [--tokens on|off]\n"
    "         [--seconds S] [--rate transfers/s] [--clients N]\n";

bool on_or_off(examples::CommandLine& words) {
  auto const value = words.value();
  if (value != "on" && value != "off")
    throw examples::BadOption{words.option() + " is \"" + value + "\", but must be on or off"};
  return value == "on";
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    auto const comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return parts;
}

Options parse(std::vector<std::string> arguments) {
  Options options;
  examples::CommandLine words{std::move(arguments)};
  while (words.next()) {
    auto const& option = words.option();
    if (option == "--hosts") options.hosts = split(words.value());
    else if (option == "--settings") options.settings = words.value();
    else if (option == "--tokens") options.tokens = on_or_off(words);
    else if (option == "--seconds") options.seconds = words.number(1, 86'400);
    else if (option == "--rate") options.rate = words.number(1, 100'000);
    else if (option == "--clients") options.clients = words.number(1, 200);
    else throw examples::BadOption{"there is no option " + option + "\n" + std::string{help}};
  }
  if (options.hosts.empty()) throw examples::BadOption{"--hosts is needed\n" + std::string{help}};
  return options;
}

void print(bank::Servers const& servers, bank::Database const& database, bank::Tally const& tally) {
  servers.for_each([&](auto& backend) {
    auto const& node = backend.payload().node();
    auto const state = node.state();
    auto const role =
        state.role == Role::primary && !database.cluster().takes_writes(node, backend.id())
            ? std::string_view{"old primary"}
            : name(state.role);
    auto const numbers = backend.payload().numbers();
    fmt::print(
        "{:<22} {:<11} timeline {:<3} {:>10} bytes behind {:>8} requests {:>5} failed"
        " {:>3} connections\n",
        backend.id(), role, state.reached.timeline, database.cluster().bytes_behind(node),
        backend.total(), backend.failed(), numbers.size());
  });
  auto const counts = database.counts();
  fmt::print(
      "reads on replicas {} (waited {}), on the primary {}; transfers {} (unknown {});\n"
      "stale reads {}, wrong sums {}, failed {}; longest pause between transfers {} ms\n\n",
      counts.replica_reads, counts.waited_reads, counts.primary_reads, tally.transfers.load(),
      tally.unknown.load(), tally.stale_reads.load(), tally.wrong_sums.load(), tally.failed.load(),
      tally.longest_pause().count());
}

int run(Options const& options) {
  std::vector<poise::Endpoint> endpoints;
  for (auto const& host : options.hosts) endpoints.push_back({.address = host});
  bank::Servers servers{std::move(endpoints), poise::postgres::servers(options.settings)};
  bank::Database database{servers};
  poise::Ticker ticker;
  auto const looking = ticker.every(200ms, [&] { database.look(); });
  bank::open(database, static_cast<unsigned>(options.clients));

  bank::Tally tally;
  auto const end = std::chrono::steady_clock::now() + std::chrono::seconds{options.seconds};
  auto const pause = std::chrono::nanoseconds{1s} * options.clients / options.rate;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < options.clients; ++i)
    threads.emplace_back([&, i] {
      bank::Client client{database, i, options.tokens, tally};
      for (auto next = std::chrono::steady_clock::now(); next < end; next += pause) {
        std::this_thread::sleep_until(next);
        client.transfer_and_check();
      }
    });
  while (std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(1s);
    print(servers, database, tally);
  }
  for (auto& thread : threads) thread.join();
  print(servers, database, tally);
  return tally.wrong_sums == 0 && (!options.tokens || tally.stale_reads == 0) ? EXIT_SUCCESS
                                                                              : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::vector<std::string> const arguments{argv + 1, argv + argc};
    if (!arguments.empty() && arguments[0] == "--help") {
      std::cout << help;
      return EXIT_SUCCESS;
    }
    return run(parse(arguments));
  } catch (std::exception const& error) {
    std::cerr << "database: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
