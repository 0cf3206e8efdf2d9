// SPDX-License-Identifier: MIT
#pragma once

// Reloads a service when its file changes, or when the process gets SIGHUP.
//
//   poise::config::HangupSignal const hangup;      // first in main(), before any thread begins
//   poise::config::Service service{poise::config::read_file(path)};
//   poise::config::Reloader const reloader{
//       path, [&](poise::config::Document document) {
//         auto const done = service.reload(std::move(document));
//         for (auto const& each : done.problems) log(message(path, each));
//       }, hangup.descriptor()};
//
// A file that is replaced by rename, by an editor or by Kubernetes' symbolic links is seen; where
// the file system reports no changes, it is read every ten seconds. Only another text counts, and
// one that is the same for 100 ms: half a file is not read. SIGHUP always counts.
//
// Where toml++ or nlohmann's JSON is not installed, this header is empty.

#if __has_include(<toml++/toml.h>) && __has_include(<nlohmann/json.hpp>)

#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <poise/config/document.hpp>
#include <poise/config/text.hpp>
#include <poise/discovery/file.hpp>
#include <poise/discovery/files.hpp>
#include <poise/discovery/source.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::config {

/// Takes SIGHUP, which would end the process, into a descriptor. *Requires* that no other thread
/// runs yet: threads inherit that it is blocked. *Errors* std::system_error.
class HangupSignal {
 public:
  HangupSignal() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    descriptor_ =
        discovery::detail::Descriptor{::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!descriptor_) throw std::system_error{errno, std::generic_category(), "signalfd"};
  }
  /// Readable when the signal came; for Reloader.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_.get(); }

 private:
  discovery::detail::Descriptor descriptor_{};
};

/// *Errors* std::system_error: no descriptor or thread is left. The destructor waits for the call
/// that is running.
class Reloader {
 public:
  /// Called on the reloader's thread for each new text, right or wrong, and for the first one soon
  /// after the start: it may have changed meanwhile. What it throws passes.
  using Use = std::function<void(Document)>;

  /// `hangup` is HangupSignal::descriptor(), or -1.
  Reloader(std::string path, Use use, int hangup = -1)
      : path_{std::move(path)},
        use_{std::move(use)},
        hangup_{hangup},
        thread_{[this] { work(); }} {}
  Reloader(Reloader const&) = delete;
  Reloader& operator=(Reloader const&) = delete;
  ~Reloader() {
    std::uint64_t const one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }

 private:
  static constexpr Duration settle = std::chrono::milliseconds{100};
  static constexpr Duration reread = std::chrono::seconds{10};

  void work() {
    watch();
    expect_change();
    for (;;) {
      discovery::Waits waits{.until = due_};
      waits.add(stop_.get(), POLLIN);
      waits.add(watch_.descriptor(), POLLIN);
      waits.add(hangup_, POLLIN);  // poll() ignores -1
      discovery::detail::wait_for(waits, SteadyClock{}.now());
      if (waits.descriptors[0].revents != 0) return;
      if (watch_.changed()) expect_change();
      if (hung_up()) read(true);
      else if (SteadyClock{}.now() >= due_) read(false);
    }
  }

  void watch() { watch_.watch({directory_of(path_), directory_of(real_path())}); }
  /// Further changes delay nothing: the directory may have other files.
  void expect_change() {
    if (!std::exchange(pending_, true)) due_ = SteadyClock{}.now() + settle;
  }

  [[nodiscard]] bool hung_up() const {
    signalfd_siginfo signal{};
    bool any = false;
    while (hangup_ >= 0 && ::read(hangup_, &signal, sizeof signal) == sizeof signal) any = true;
    return any;
  }

  /// Uses the text if it is another one, twice the same.
  void read(bool at_once) {
    watch();
    auto file = discovery::detail::read_file(path_, max_file);
    auto const& seen = file.error.empty() ? file.text : file.error;
    pending_ = !at_once && std::exchange(seen_, seen) != seen;
    due_ = SteadyClock{}.now() + (pending_ ? settle : reread);
    if (pending_ || (!at_once && seen == used_)) return;
    used_ = seen;
    try {
      use_(file.error.empty() ? read_text(file.text) : Document{.problems = {{{}, file.error}}});
      // NOLINTNEXTLINE(bugprone-empty-catch): the thread goes on
    } catch (...) {
    }
  }

  [[nodiscard]] std::string real_path() const {
    std::error_code error;
    auto const real = std::filesystem::canonical(path_, error);
    return error ? path_ : real.string();
  }
  static std::string directory_of(std::string const& path) {
    auto const parent = std::filesystem::path{path}.parent_path();
    return parent.empty() ? "." : parent.string();
  }

  std::string const path_;
  Use const use_;
  int const hangup_;
  std::string used_{};  // the last text, or why there was none
  std::string seen_{};  // the same when it was last read
  bool pending_ = false;
  Time due_{};
  discovery::detail::DirectoryWatch watch_{};
  discovery::detail::Descriptor stop_ = discovery::detail::event_descriptor();
  std::thread thread_;
};

}  // namespace poise::inline v0_1_0::config

#endif
