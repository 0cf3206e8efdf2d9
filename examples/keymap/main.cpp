// SPDX-License-Identifier: MIT
// keymap: which backend does this key go to, and what moves if that one goes? For operators.

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/endpoint.hpp>
#include <poise/error.hpp>

#include "../command_line.hpp"
#include "mapper.hpp"

namespace {

using keymap::Wrong;

constexpr std::string_view usage = R"(usage:
  keymap --dialect NAME[:OPTION=VALUE,...] --backends FILE [--down NAME,...] < keys
  keymap --dialect ... --backends FILE [--down NAME,...] --balance
  keymap --dialect ... --moved OLD NEW < keys

The first form prints the backend of each key, one name a line, in the order of the keys. A key is a
line, byte by byte, without its newline. --balance prints the share of all hashes that each backend
gets, exactly. --moved compares two files of backends: how many of the keys move, and from where to
where; --down then applies to NEW.

A file of backends has a line for each: NAME WEIGHT [id=N] [guid=TEXT] [addr=HOST:PORT]
  NAME    as the system calls it; of nginx what stands after `server`, to the letter
  WEIGHT  a number; 0 takes nothing
  id      HAProxy's server id, where one is set; else servers are numbered from 1
  guid    HAProxy's, for key=guid
  addr    where it is; the name, where it is left out. HAProxy (key=addr), Envoy, gRPC, pingora,
          libketama and libmemcached hash it
Empty lines and lines that start with # are skipped.

--dialect is the system whose answer you want:
)";

constexpr std::string_view lessons = R"(
Examples:
  printf '10.0.0.1:80 1\n10.0.0.2:80 2\n10.0.0.3:80 1\n' > backends
  echo user-17 | keymap --dialect nginx --backends backends
      Where does nginx's `hash $arg_user consistent` send user 17?
  echo user-17 | keymap --dialect nginx --backends backends --down 10.0.0.2:80
      ... and while that one is down?
  keymap --dialect envoy-ring --backends backends --balance
      How even is the ring?
  grep -v 10.0.0.2 backends > fewer; keymap --dialect maglev --moved backends fewer < keys
      What does it cost to take one away?

Wrong input ends with status 2 and a line that says what is wrong.
)";

struct Options {
  std::string dialect = "maglev";
  std::string backends{};
  std::string old_backends{};
  std::vector<std::string> down{};
  bool balance = false;
  bool moved = false;
  bool help = false;
};

std::vector<std::string> split(std::string const& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream rest{text};
  for (std::string part; std::getline(rest, part, separator);) parts.push_back(part);
  return parts;
}

Options parse(std::vector<std::string> words) {
  Options options;
  examples::CommandLine line{std::move(words)};
  while (line.next()) {
    auto const& word = line.option();
    if (line.asks_for_help()) {
      options.help = true;
    } else if (word == "--dialect") {
      options.dialect = line.value();
    } else if (word == "--backends") {
      options.backends = line.value();
    } else if (word == "--down") {
      for (auto& name : split(line.value(), ',')) options.down.push_back(std::move(name));
    } else if (word == "--balance") {
      options.balance = true;
    } else if (word == "--moved") {
      options.moved = true;
      options.old_backends = line.value();
      options.backends = line.value();
    } else {
      throw line.unknown();
    }
  }
  if (options.help) return options;
  if (options.backends.empty()) throw Wrong{"--backends FILE is missing; see --help"};
  if (options.balance && options.moved) throw Wrong{"--balance and --moved are two questions"};
  return options;
}

std::optional<std::uint32_t> number(std::string const& text) {
  std::uint32_t value = 0;
  auto const result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || result.ec != std::errc{} || result.ptr != text.data() + text.size())
    return std::nullopt;
  return value;
}

/// "id=N", "guid=TEXT" or "addr=HOST:PORT".
void add_fact(poise::Endpoint& backend, std::string const& word, std::string const& where) {
  auto const equals = word.find('=');
  auto const key = word.substr(0, equals);
  auto const value = equals == std::string::npos ? "" : word.substr(equals + 1);
  if (value.empty() || (key != "id" && key != "guid" && key != "addr"))
    throw Wrong{where + ": \"" + word + "\" is none of id=N, guid=TEXT, addr=HOST:PORT"};
  if (key == "addr") backend.address = value;
  else backend.labels.push_back({key, value});
}

/// One line of a file of backends; `where` is "file:line".
poise::Endpoint parse_backend(std::string const& line, std::string const& where) {
  std::istringstream words{line};
  poise::Endpoint backend;
  std::string weight;
  words >> backend.id >> weight;
  if (weight.empty()) throw Wrong{where + ": the weight is missing: NAME WEIGHT is wanted"};
  auto const parsed = number(weight);
  if (!parsed)
    throw Wrong{where + ": the weight \"" + weight + "\" is no number from 0 to 2^32 - 1"};
  backend.weight = *parsed;
  backend.address = backend.id;
  for (std::string word; words >> word;) add_fact(backend, word, where);
  return backend;
}

std::vector<poise::Endpoint> read_backends(std::string const& name) {
  if (std::filesystem::is_directory(name)) throw Wrong{name + ": is a folder, not a file"};
  std::ifstream file{name, std::ios::binary};
  if (!file) throw Wrong{name + ": can't be read"};
  std::vector<poise::Endpoint> backends;
  std::map<std::string, std::size_t> line_of;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    if (++number == 1 && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);  // a UTF-8 BOM
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos || line.front() == '#') continue;
    auto const where = name + ":" + std::to_string(number);
    backends.push_back(parse_backend(line, where));
    auto const& id = backends.back().id;
    if (auto const [first, is_new] = line_of.emplace(id, number); !is_new)
      // NOLINTNEXTLINE(performance-inefficient-string-concatenation): once, and then it is over
      throw Wrong{where + ": \"" + id + "\" stands in line " + std::to_string(first->second) +
                  " already"};
  }
  if (backends.empty()) throw Wrong{name + ": there is no backend in it"};
  return backends;
}

std::unique_ptr<keymap::Mapper> make_mapper(Options const& options,
                                            std::vector<poise::Endpoint> const& backends,
                                            std::string const& file, bool with_down) {
  std::unique_ptr<keymap::Mapper> mapper;
  try {
    mapper = keymap::make_mapper(options.dialect, backends);
  } catch (poise::ConfigError const& error) {
    throw Wrong{file + ": " + error.what()};
  }
  if (!with_down) return mapper;
  auto const is_known = [&](std::string const& name) {
    return std::any_of(backends.begin(), backends.end(),
                       [&](auto const& each) { return each.id == name; });
  };
  auto const unknown = std::find_if_not(options.down.begin(), options.down.end(), is_known);
  if (unknown != options.down.end())
    throw Wrong{"--down: there is no backend \"" + *unknown + "\" in " + file};
  for (auto const& name : options.down) mapper->drain(name);
  if (std::all_of(backends.begin(), backends.end(), [&](auto const& each) {
        return each.weight == 0 ||
               std::count(options.down.begin(), options.down.end(), each.id) > 0;
      }))
    throw Wrong{"--down: nothing is left of " + file};
  return mapper;
}

template <class Take>
void each_key(Take const& take) {
  std::ios::sync_with_stdio(false);
  for (std::string key; std::getline(std::cin, key);) take(key);
}

void print_backends(Options const& options) {
  auto const backends = read_backends(options.backends);
  auto const mapper = make_mapper(options, backends, options.backends, true);
  each_key([&](std::string const& key) { std::cout << mapper->backend_of(key) << '\n'; });
}

std::string percent(double share, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f %%", digits, share * 100);
  return text;
}

void print_balance(Options const& options) {
  auto const backends = read_backends(options.backends);
  auto const mapper = make_mapper(options, backends, options.backends, true);
  auto const shares = mapper->shares();
  for (std::size_t i = 0; i < backends.size(); ++i)
    std::cout << backends[i].id << ' ' << percent(shares[i], 4) << '\n';
}

void print_moved(Options const& options) {
  auto const before_file = read_backends(options.old_backends);
  auto const after_file = read_backends(options.backends);
  auto const before = make_mapper(options, before_file, options.old_backends, false);
  auto const after = make_mapper(options, after_file, options.backends, true);
  std::map<std::pair<std::string, std::string>, std::size_t> moves;
  std::size_t keys = 0;
  std::size_t moved = 0;
  each_key([&](std::string const& key) {
    ++keys;
    auto const from = before->backend_of(key);
    auto const to = after->backend_of(key);
    if (from == to) return;
    ++moved;
    ++moves[{from, to}];
  });
  auto const share = [&](std::size_t count) {
    return percent(keys == 0 ? 0 : static_cast<double>(count) / static_cast<double>(keys), 2);
  };
  std::cout << moved << " of " << keys << " keys move: " << share(moved) << '\n';
  std::vector<std::pair<std::size_t, std::pair<std::string, std::string>>> order;
  for (auto const& [way, count] : moves) order.emplace_back(count, way);
  std::stable_sort(order.begin(), order.end(),
                   [](auto const& a, auto const& b) { return a.first > b.first; });
  for (auto const& [count, way] : order)
    std::cout << way.first << " -> " << way.second << ' ' << count << ' ' << share(count) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto const options = parse({argv + 1, argv + argc});
    if (options.help) std::cout << usage << keymap::describe_dialects() << lessons;
    else if (options.balance) print_balance(options);
    else if (options.moved) print_moved(options);
    else print_backends(options);
    std::cout.flush();
    return std::cout ? 0 : 1;
  } catch (std::exception const& error) {
    std::cout.flush();
    std::cerr << "keymap: " << error.what() << '\n';
    return 2;
  }
}
