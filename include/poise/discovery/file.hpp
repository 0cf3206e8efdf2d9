// SPDX-License-Identifier: MIT
#pragma once

// A file, or all files of a directory, read again when they change.
//
// Watched are directories, not files: a file that is replaced by rename, by an editor or by
// Kubernetes' symbolic links (ConfigMap) is another file. File systems that report no changes (NFS,
// FUSE, overlays) are covered by reading again every `reread` anyway.

#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/base/saturating.hpp>
#include <poise/discovery/files.hpp>
#include <poise/discovery/lines.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/source.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

struct FileOptions {
  std::size_t max_size = std::size_t{16} << 20U;       ///< In bytes; of a directory in total.
  Duration settle = std::chrono::milliseconds{50};     ///< From a change to reading it.
  Duration reread = std::chrono::seconds{10};          ///< Without any change seen.
  std::function<Look(std::string_view text)> parse{};  ///< Without it lines, discovery/lines.hpp.
};

namespace detail {

/// inotify for a few directories. Without inotify (its instances are few) it sees nothing.
class DirectoryWatch {
 public:
  DirectoryWatch() : notify_{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)} {}

  /// Watches these, and no others. Directories that don't exist are left out.
  void watch(std::vector<std::string> const& directories) {
    constexpr std::uint32_t mask = IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_CLOSE_WRITE |
                                   IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
    std::vector<int> wanted;
    for (auto const& each : directories)
      if (auto const id = ::inotify_add_watch(notify_.get(), each.c_str(), mask); id >= 0)
        wanted.push_back(id);
    for (auto const id : watches_)
      if (std::ranges::find(wanted, id) == wanted.end()) ::inotify_rm_watch(notify_.get(), id);
    watches_ = std::move(wanted);
  }
  /// True if something happened since the last call; what it was does not matter.
  bool changed() {
    bool any = false;
    alignas(inotify_event) char events[4096];
    while (notify_ && ::read(notify_.get(), events, sizeof events) > 0) any = true;
    return any;
  }
  [[nodiscard]] int descriptor() const noexcept { return notify_.get(); }

 private:
  Descriptor notify_;
  std::vector<int> watches_{};
};

class FileSource final : public Source {
 public:
  FileSource(std::string path, FileOptions options)
      : path_{std::move(path)}, options_{std::move(options)} {
    poise::detail::check_not_negative("settle of discovery::FileOptions", options_.settle,
                                      "0 reads at once");
    poise::detail::check_positive("reread of discovery::FileOptions", options_.reread);
    if (!options_.parse) options_.parse = [](std::string_view text) { return parse(text); };
  }

  [[nodiscard]] std::string name() const override { return "file " + path_; }
  void ask(Time now) override {
    watching_ = true;
    read_at_ = now;
    again_ = false;
  }
  void drop() override {
    watching_ = false;
    read_at_.reset();
  }
  [[nodiscard]] std::optional<Look> next(Time now) override {
    if (watch_.changed() && watching_ && !read_at_) read_after(options_.settle, now);
    if (!read_at_ || now < *read_at_) return std::nullopt;
    read_at_.reset();
    auto look = read();
    // What does not parse may be half written: it gets a second chance before it is reported.
    auto const* const found = std::get_if<Found>(&look);
    bool const whole = found != nullptr && found->problems.empty() && !found->endpoints.empty();
    if (!whole && !std::exchange(again_, true)) {
      read_after(std::max(options_.settle, Duration{std::chrono::milliseconds{50}}), now);
      return std::nullopt;
    }
    again_ = false;
    return look;
  }
  void add_waits(Waits& waits) const override {
    if (watching_ && watch_.descriptor() >= 0) waits.add(watch_.descriptor(), POLLIN);
    if (read_at_) waits.add(*read_at_);
  }
  [[nodiscard]] bool busy() const override { return watching_; }

 private:
  void read_after(Duration wait, Time now) { read_at_ = poise::detail::saturating_add(now, wait); }
  static Look parse(std::string_view text) {
    auto found = parse_lines(text);
    auto const first = text.find_first_not_of(" \t\r\n");
    if (found.endpoints.empty() && first != std::string_view::npos &&
        (text[first] == '{' || text[first] == '['))
      return Failed{"looks like JSON, but is read as lines: set FileOptions::parse (json/)", {}};
    return found;
  }

  Look read() {
    namespace fs = std::filesystem;
    std::error_code error;
    bool const is_directory = fs::is_directory(path_, error);
    watch_.watch(directories(is_directory));  // before reading, so that no change is missed
    auto left = options_.max_size;
    auto look = is_directory ? read_directory() : read_one(path_, left);
    if (auto* const found = std::get_if<Found>(&look)) {
      found->version = poise::detail::escaped(path_);
      found->good_for = options_.reread;
    }
    return look;
  }

  /// Where changes are seen: where the name stands, and where what it stands for is.
  [[nodiscard]] std::vector<std::string> directories(bool is_directory) const {
    namespace fs = std::filesystem;
    std::error_code error;
    fs::path const path{path_};
    auto const parent = path.has_parent_path() ? path.parent_path() : fs::path{"."};
    std::vector<std::string> result{parent.string()};
    if (is_directory) result.push_back(path_);
    auto const real = fs::canonical(path, error);
    if (!error) result.push_back(is_directory ? real.string() : real.parent_path().string());
    return result;
  }

  /// Takes the size of the text off `left`.
  [[nodiscard]] Look read_one(std::string const& path, std::size_t& left) const {
    auto file = read_file(path, left);
    if (!file.error.empty()) return Failed{std::move(file.error), {}};
    left -= file.text.size();
    auto look = options_.parse(file.text);
    if (auto* const failed = std::get_if<Failed>(&look)) failed->why = path + ": " + failed->why;
    else
      for (auto& each : std::get<Found>(look).problems) each.insert(0, path + ": ");
    return look;
  }

  /// The union of all files whose names don't begin with a dot. One that fails fails all.
  [[nodiscard]] Look read_directory() const {
    namespace fs = std::filesystem;
    std::error_code error;
    std::vector<std::string> files;
    for (fs::directory_iterator each{path_, error}, end; !error && each != end;
         each.increment(error)) {
      if (each->path().filename().string().starts_with('.')) continue;
      std::error_code ignored;
      if (each->is_regular_file(ignored)) files.push_back(each->path().string());
    }
    if (error) return Failed{path_ + ": " + error.message(), {}};
    std::ranges::sort(files);
    Found all;
    std::size_t left = options_.max_size;
    for (auto const& each : files) {
      auto look = read_one(each, left);
      if (std::holds_alternative<Failed>(look)) return look;
      auto& found = std::get<Found>(look);
      std::ranges::move(found.endpoints, std::back_inserter(all.endpoints));
      for (auto& problem : found.problems) add_problem(all.problems, std::move(problem));
    }
    return all;
  }

  std::string const path_;
  FileOptions options_;
  DirectoryWatch watch_{};
  bool watching_ = false;
  bool again_ = false;  // the last reading was not usable
  std::optional<Time> read_at_{};
};

}  // namespace detail

/// *Errors* ConfigError: options that make no sense. A file that is missing, a directory that can't
/// be listed, a FIFO, a file that is too large: the source answers Failed, and the list stays.
[[nodiscard]] inline std::unique_ptr<Source> from_file(std::string path, FileOptions options = {}) {
  return std::make_unique<detail::FileSource>(std::move(path), std::move(options));
}

}  // namespace poise::inline v0_1_0::discovery
