// SPDX-License-Identifier: MIT
// A file that changes, and SIGHUP.

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/config/reloader.hpp>

#include "support/catch.hpp"

namespace integration_configuration_reloader {

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// A directory of its own, with a file.
class Folder {
 public:
  Folder() {
    std::string name = fs::temp_directory_path() / "poise-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Folder(Folder const&) = delete;
  Folder& operator=(Folder const&) = delete;
  ~Folder() { fs::remove_all(path_); }

  [[nodiscard]] std::string file() const { return path_ / "web.toml"; }
  void write(std::string const& backend) const {
    std::ofstream{path_ / "new"} << "[[backends]]\naddress = \"" << backend << "\"\n";
    fs::rename(path_ / "new", file());
  }
  void remove() const { fs::remove(file()); }

 private:
  fs::path path_;
};

/// What a reloader used, for another thread.
class Seen {
 public:
  void add(poise::config::Document const& document) {
    std::scoped_lock const lock{mutex_};
    all_.push_back(document.valid() ? document.settings.backends[0].address
                                    : document.problems[0].text);
  }
  /// Waits for so many; gives up after ten seconds.
  std::vector<std::string> await(std::size_t count) {
    for (int i = 0; i < 1000; ++i) {
      {
        std::scoped_lock const lock{mutex_};
        if (all_.size() >= count) return all_;
      }
      std::this_thread::sleep_for(10ms);
    }
    return {};
  }

 private:
  std::mutex mutex_{};
  std::vector<std::string> all_{};
};

}  // namespace

TEST_CASE("a file that is replaced, broken or removed is used once more") {
  Folder const folder;
  folder.write("a:1");
  Seen seen;
  poise::config::Reloader const reloader{folder.file(), [&](auto document) { seen.add(document); }};
  REQUIRE(seen.await(1).at(0) == "a:1");
  folder.write("b:1");
  REQUIRE(seen.await(2).at(1) == "b:1");
  folder.write("b");
  REQUIRE(seen.await(3).at(2).starts_with("backends.0.address is \"b\""));
  folder.remove();
  REQUIRE(seen.await(4).at(3).find("No such file") != std::string::npos);
  folder.write("c:1");
  REQUIRE(seen.await(5).at(4) == "c:1");
}

TEST_CASE("SIGHUP uses the file again, also if it is the same") {
  Folder const folder;
  folder.write("a:1");
  poise::config::HangupSignal const hangup;
  Seen seen;
  poise::config::Reloader const reloader{folder.file(), [&](auto document) { seen.add(document); },
                                         hangup.descriptor()};
  REQUIRE(seen.await(1).size() == 1);
  ::kill(::getpid(), SIGHUP);
  REQUIRE(seen.await(2).at(1) == "a:1");
}

}  // namespace integration_configuration_reloader
