// SPDX-License-Identifier: MIT
// discover: what does this registry say, and what would a service make of it? For operators.

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <poise/base/utc.hpp>
#include <poise/discovery/curl/registration.hpp>
#include <poise/discovery/feed.hpp>
#include <poise/discovery/files.hpp>
#include <poise/discovery/snapshot.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/time.hpp>

#include "options.hpp"
#include "preview.hpp"
#include "proxy_file.hpp"

namespace {

using Json = nlohmann::ordered_json;
using namespace poise::discovery;

Json to_json(poise::Endpoint const& endpoint) {
  return {{"id", endpoint.id},
          {"address", endpoint.address},
          {"weight", endpoint.weight},
          {"zone", endpoint.zone},
          {"tier", endpoint.tier}};
}

/// One line per list, and one whenever something is held back.
class Printer {
 public:
  /// Also what the preview's balancer makes of the list, if there is a preview.
  void print(Feed const& feed, poise::Time now, std::optional<discover::Preview>& preview) {
    std::string held;
    std::string version;
    for (auto const& each : feed.status(now)) {
      if (!each.holding.empty()) held += (held.empty() ? "" : "; ") + each.holding;
      if (!each.version.empty()) version += (version.empty() ? "" : ", ") + each.version;
    }
    if (feed.revision() == 0 || (feed.revision() == revision_ && held == held_)) return;
    revision_ = feed.revision();
    held_ = held;
    Json line{{"at", poise::detail::in_utc(std::chrono::system_clock::now())},
              {"version", version},
              {"fingerprint", poise::discovery::detail::in_hex(fingerprint(feed.endpoints()))},
              {"endpoints", Json::array()}};
    for (auto const& each : feed.endpoints()) line["endpoints"].push_back(to_json(each));
    line["applied"] = held.empty();
    if (!held.empty()) line["held"] = held;
    if (preview) line["balancer"] = preview->describe();
    std::cout << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
  }

 private:
  std::uint64_t revision_ = 0;
  std::string held_{};
};

/// A descriptor that is readable once SIGINT or SIGTERM came. To be called before threads begin.
poise::discovery::detail::Descriptor take_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  return poise::discovery::detail::Descriptor{::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)};
}

void print_event(std::string const& source, Event const& event) {
  std::cerr << source << ": " << name(event.kind) << ": " << event.text << '\n';
}

/// Keeps an entry until a signal.
int keep_entry(discover::Options const& options) {
  auto named = discover::make_entry(options);
  auto const stop = take_signals();
  Watcher watcher;
  Registration entry{watcher, named.url, std::move(named.entry), print_event};
  Waits waits;
  waits.add(stop.get(), POLLIN);
  while (::poll(waits.descriptors.data(), 1, -1) <= 0) {
  }
  if (entry.leave(std::chrono::seconds{5})) return 0;
  std::cerr << "discover: the registry did not confirm that the entry is gone; it lapses in "
            << options.ttl << " s\n";
  return 1;
}

/// Runs until a signal; without --watch until each source has answered or failed.
int run(discover::Options const& options) {
  auto const stop = take_signals();  // first: a source may start a thread
  std::vector<std::unique_ptr<Source>> sources;
  for (auto const& each : options.sources) sources.push_back(discover::make_source(each));
  auto feed_options = options.feed;
  feed_options.log = [](std::string const& source, Event const& event) {
    if (event.kind != Event::Kind::applied) print_event(source, event);
  };
  std::optional<discover::Preview> preview;
  std::vector<Sink> sinks;
  if (options.balancer) sinks.push_back(preview.emplace().sink());
  std::optional<discover::ProxyFile> file;
  if (options.write) {
    file.emplace(*options.write, options.run);
    sinks.push_back(file->sink());
  }
  Feed feed{std::move(sources), std::move(sinks), feed_options};

  Printer printer;
  poise::SteadyClock const clock;
  signalfd_siginfo signal{};
  while (::read(stop.get(), &signal, sizeof signal) < 0 && std::cout) {
    feed.step(clock.now());
    auto const now = clock.now();
    printer.print(feed, now, preview);
    bool const written = !file || file->write(now);
    if (!options.watch) {
      bool all = true;
      bool any_failed = false;
      for (auto const& each : feed.status(now)) {
        all = all && (each.age || each.failures != 0);
        any_failed = any_failed || each.failures != 0;
      }
      if (all) return !written || (any_failed && feed.endpoints().empty()) ? 1 : 0;
    }
    Waits waits;
    waits.add(stop.get(), POLLIN);
    feed.add_waits(waits);
    if (file) file->add_waits(waits);
    poise::discovery::detail::wait_for(waits, clock.now());
  }
  return feed.revision() == 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto const options = discover::parse({argv + 1, argv + argc});
    if (!options.help) return options.registers ? keep_entry(options) : run(options);
    std::cout << discover::usage;
    return 0;
  } catch (std::exception const& error) {
    std::cerr << "discover: " << error.what() << '\n';
    return 2;
  }
}
