// SPDX-License-Identifier: MIT

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <poise/discovery/file.hpp>

#include "support/catch.hpp"

namespace unit_discovery_file {

using namespace std::chrono_literals;
using namespace poise::discovery;
using poise::Time;
namespace fs = std::filesystem;

namespace {

/// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "poise-file-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  Folder(Folder const&) = delete;
  Folder& operator=(Folder const&) = delete;
  ~Folder() { fs::remove_all(path_); }
  [[nodiscard]] std::string path(std::string const& name) const { return (path_ / name).string(); }
  void write(std::string const& name, std::string_view text) const {
    std::ofstream{path_ / name} << text;
  }
  /// As careful programs replace a file.
  void replace(std::string const& name, std::string_view text) const {
    write(name + ".tmp", text);
    fs::rename(path_ / (name + ".tmp"), path_ / name);
  }

 private:
  fs::path path_;
};

/// A source in virtual time; inotify itself is real.
struct Scene {
  std::unique_ptr<Source> source;
  Time now{1000s};

  explicit Scene(std::string const& path, FileOptions const& options = {})
      : source{from_file(path, options)} {
    source->ask(now);
  }
  /// What the source says within this time.
  std::optional<Look> look(poise::Duration within = 1s) {
    std::optional<Look> last;
    for (auto const end = now + within; now <= end; now += 10ms)
      if (auto look = source->next(now)) last = std::move(look);
    return last;
  }
  std::string list() {
    auto const found = look();
    if (!found) return "nothing new";
    if (auto const* failed = std::get_if<Failed>(&*found)) return "failed: " + failed->why;
    std::string text;
    for (auto const& each : std::get<Found>(*found).endpoints) text += each.id + " ";
    return text;
  }
};

}  // namespace

TEST_CASE("a file that never settles is read when the source is asked") {
  Folder const folder;
  folder.write("f", "a:1\n");
  Scene scene{folder.path("f"), {.settle = poise::Duration::max()}};
  CHECK(scene.list() == "a:1 ");
  folder.replace("f", "b:1\n");
  CHECK(scene.list() == "nothing new");
  scene.source->ask(scene.now);
  CHECK(scene.list() == "b:1 ");
}

TEST_CASE("a file is seen however it is written") {
  Folder const folder;
  folder.write("f", "a:1\n");
  Scene scene{folder.path("f")};
  CHECK(scene.list() == "a:1 ");
  CHECK(scene.list() == "nothing new");
  folder.write("f", "b:1\n");  // in place
  CHECK(scene.list() == "b:1 ");
  for (auto const* each : {"c:1", "d:1", "e:1"}) {
    folder.replace("f", each);  // a watch on the file would die at the first one
    CHECK(scene.list() == std::string{each} + " ");
  }
  fs::rename(folder.path("f"), folder.path("f~"));  // as vi does
  folder.write("f", "g:1\n");
  CHECK(scene.list() == "g:1 ");
}

TEST_CASE("a ConfigMap's links are followed through its swaps") {
  Folder const folder;
  auto const publish = [&](std::string const& name, std::string_view text) {
    fs::create_directory(folder.path(name));
    folder.write(name + "/f", text);
    fs::create_directory_symlink(name, folder.path("..tmp"));
    fs::rename(folder.path("..tmp"), folder.path("..data"));
  };
  publish("..one", "a:1\n");
  fs::create_symlink("..data/f", folder.path("f"));
  Scene scene{folder.path("f")};
  CHECK(scene.list() == "a:1 ");
  publish("..two", "b:1\n");
  fs::remove_all(folder.path("..one"));
  CHECK(scene.list() == "b:1 ");
  publish("..three", "c:1\n");
  CHECK(scene.list() == "c:1 ");
}

TEST_CASE("a link to a file elsewhere sees the file change there") {
  Folder const here;
  Folder const there;
  there.write("real", "a:1\n");
  fs::create_symlink(there.path("real"), here.path("f"));
  Scene scene{here.path("f")};
  CHECK(scene.list() == "a:1 ");
  there.replace("real", "b:1\n");
  CHECK(scene.list() == "b:1 ");
}

TEST_CASE("a file that is written in two halves is read once it is whole") {
  Folder const folder;
  folder.write("f", "a:1\n");
  Scene scene{folder.path("f")};
  scene.list();
  std::ofstream half{folder.path("f")};
  half << "b:1\nc" << std::flush;
  CHECK_FALSE(scene.look(90ms));
  half << ":1\n" << std::flush;
  half.close();
  CHECK(scene.list() == "b:1 c:1 ");
}

TEST_CASE("a file that is missing, or no file, is a failure that says why") {
  Folder const folder;
  CHECK(Scene{folder.path("none")}.list() ==
        "failed: " + folder.path("none") + ": No such file or directory");
  REQUIRE(::mkfifo(folder.path("fifo").c_str(), 0600) == 0);
  CHECK(Scene{folder.path("fifo")}.list() ==
        "failed: " + folder.path("fifo") + ": is no regular file");
  CHECK(Scene{"/dev/zero"}.list() == "failed: /dev/zero: is no regular file");
  folder.write("big", std::string(1000, 'x'));
  CHECK(Scene{folder.path("big"), {.max_size = 999}}.list().find("more than 999 bytes") !=
        std::string::npos);
  CHECK(::truncate(folder.path("big").c_str(), off_t{1} << 30) == 0);  // a gigabyte of nothing
  CHECK(Scene{folder.path("big")}.list().find("more than 16777216 bytes") != std::string::npos);
  if (::geteuid() != 0) {
    fs::permissions(folder.path("big"), fs::perms::none);
    CHECK(Scene{folder.path("big")}.list().find("Permission denied") != std::string::npos);
  }
}

TEST_CASE("a file that appears later is seen") {
  Folder const folder;
  Scene scene{folder.path("f")};
  CHECK(scene.list().starts_with("failed"));
  folder.replace("f", "a:1");
  CHECK(scene.list() == "a:1 ");
}

TEST_CASE("an empty file is an empty list, for the guard to judge") {
  Folder const folder;
  folder.write("f", "# nobody\n");
  CHECK(Scene{folder.path("f")}.list().empty());
}

TEST_CASE("JSON that is read as lines gets the advice to set a parser") {
  Folder const folder;
  folder.write("f", "[{\"address\": \"a:1\"}]");
  CHECK(Scene{folder.path("f")}.list().find("looks like JSON") != std::string::npos);
}

TEST_CASE("the files of a directory share one limit of size") {
  Folder const folder;
  folder.write("one", "a:1\n");
  folder.write("two", "b:1\n");
  auto const ask = [&](std::size_t max_size) {
    FileOptions options;
    options.max_size = max_size;
    auto const source = from_file(folder.path(""), options);
    source->ask(poise::Time{0s});
    std::optional<Look> look;
    for (poise::Time now{0s}; !look; now += 100ms) look = source->next(now);
    return std::holds_alternative<Found>(*look);
  };
  CHECK(ask(8));
  CHECK_FALSE(ask(7));
}

TEST_CASE("a directory is the union of its files, without hidden ones") {
  Folder const folder;
  folder.write("one", "a:1\n");
  folder.write("two", "b:1\n");
  folder.write(".hidden", "c:1\n");
  Scene scene{folder.path("")};
  CHECK(scene.list() == "a:1 b:1 ");
  folder.replace("three", "d:1\n");
  CHECK(scene.list() == "a:1 d:1 b:1 ");
  fs::remove(folder.path("one"));
  CHECK(scene.list() == "d:1 b:1 ");
}

}  // namespace unit_discovery_file
