// SPDX-License-Identifier: MIT
// gateway: a reverse proxy for HTTP/1.1 in front of the backends of one file. See --help.
//
//   gateway.cpp    the whole: a service of poise, workers, pages
//   listener.cpp   where clients connect
//   worker.cpp     a thread and its event loop
//   connection.cpp a client, request after request
//   exchange.cpp   a request and its attempts
//   deliver.cpp    its response
//   upstream.cpp   connections to backends
//   message.hpp    heads and bodies, by Boost.Beast's parser
//   refuse.cpp     requests that are refused
//   fields.cpp     what is passed on, and what is added

#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <exception>
#include <string>
#include <vector>

#include <pthread.h>

#include <fmt/format.h>
#include <poise/config/reloader.hpp>
#include <poise/config/text.hpp>

#include "gateway.hpp"
#include "options.hpp"

namespace {

namespace config = poise::config;

void log(std::string const& line) { fmt::print(stderr, "gateway: {}\n", line); }

/// The file, with the command line's addresses.
config::Document with(gateway::Options const& options, config::Document document) {
  if (!options.listen.empty()) document.settings.gateway.listen = options.listen;
  if (!options.admin.empty()) document.settings.metrics.listen = options.admin;
  return document;
}

/// Prints the problems; true if there are none.
bool is_right(std::string const& file, std::vector<config::Problem> const& problems) {
  for (auto const& each : problems) fmt::print(stderr, "{}\n", message(file, each));
  return problems.empty();
}

/// SIGTERM and SIGINT wait until they are asked for. First in main(): threads inherit that.
sigset_t held_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  (void)std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

/// Waits until `done`, the end of the time, or another signal.
template <class Done>
void wait(poise::Duration time, sigset_t const& signals, Done const& done) {
  using Clock = std::chrono::steady_clock;
  auto const end = Clock::now() + time;
  constexpr timespec pause{.tv_sec = 0, .tv_nsec = 20'000'000};
  while (!done() && Clock::now() < end)
    if (::sigtimedwait(&signals, nullptr, &pause) > 0) break;
}

/// First out of the registry, so that no client comes to a closed door.
void drain(gateway::Gateway& running, sigset_t const& signals) {
  if (running.leave_registry()) {
    log("left the registry");
    wait(running.leave_delay(), signals, [] { return false; });
  }
  log("draining: no new clients");
  running.drain();
  wait(running.drain_timeout(), signals, [&] { return running.finished(); });
  log(running.finished() ? "drained" : "what was left is cut off");
}

int run(gateway::Options const& options) {
  auto const document = with(options, config::read_file(options.file));
  if (!is_right(options.file, document.problems)) return 2;
  if (options.check) return 0;
  auto const signals = held_signals();
  config::HangupSignal const hangup;
  gateway::Gateway running{document, log};
  config::Reloader const reloader{options.file,
                                  [&](config::Document fresh) {
                                    auto const done =
                                        running.reload(with(options, std::move(fresh)));
                                    if (!is_right(options.file, done.problems)) return;
                                    for (auto const& each : done.changes)
                                      log("reloaded: " + message(each));
                                  },
                                  hangup.descriptor()};
  fmt::print("{}{}{}\n", running.url(), running.admin_url().empty() ? "" : " admin ",
             running.admin_url());
  std::fflush(stdout);
  int signal = 0;
  ::sigwait(&signals, &signal);
  drain(running, signals);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto const options = gateway::parse({argv + 1, argv + argc});
    if (options.help) fmt::print("{}", gateway::help());
    else return run(options);
    return 0;
  } catch (gateway::BadOption const& error) {
    fmt::print(stderr, "gateway: {}\n", error.what());
    return 2;
  } catch (std::exception const& error) {
    fmt::print(stderr, "gateway: {}\n", error.what());
    return 1;
  }
}
