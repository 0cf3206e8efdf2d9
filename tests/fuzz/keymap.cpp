// SPDX-License-Identifier: MIT
// All of keymap: its command line, the file of backends, and the keys.
//
// An input is the dialect, a line of further words, the lines of the file up to an empty one, and
// the keys. keymap's main() is compiled as keymap_main().

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz.hpp"

int keymap_main(int argc, char** argv);

namespace {

/// The standard streams, for as long as it lives.
class Streams {
 public:
  explicit Streams(std::string const& input) : input_{input} {
    for (auto* each : {static_cast<std::ios*>(&std::cin), static_cast<std::ios*>(&std::cout),
                       static_cast<std::ios*>(&std::cerr)})
      each->clear();
    std::cin.rdbuf(&input_);
    std::cout.rdbuf(&output_);
    std::cerr.rdbuf(&errors_);
  }
  Streams(Streams const&) = delete;
  Streams& operator=(Streams const&) = delete;
  ~Streams() {
    std::cin.rdbuf(nullptr);
    std::cout.rdbuf(nullptr);
    std::cerr.rdbuf(nullptr);
  }
  [[nodiscard]] std::string errors() const { return errors_.str(); }

 private:
  std::stringbuf input_;
  std::stringbuf output_{};
  std::stringbuf errors_{};
};

/// Weights of thousands are allowed: they make rings of millions of points, which take seconds.
bool has_large_number(std::string_view text) {
  constexpr std::string_view digits = "0123456789";
  while (true) {
    text.remove_prefix(std::min(text.find_first_of(digits), text.size()));
    if (text.empty()) return false;
    auto const length = std::min(text.find_first_not_of(digits), text.size());
    if (length > 3 && length < 11) return true;  // longer ones are refused
    text.remove_prefix(length);
  }
}

}  // namespace

void tests::fuzz(std::string_view input) {
  static bool const apart = std::ios::sync_with_stdio(false);  // else keymap would, and take cin
  static int const file = ::memfd_create("backends", 0);
  (void)apart;
  auto const dialect = take(input, '\n');
  auto const further = take(input, '\n');
  if (further.find('/') != std::string::npos) return;  // no other files
  auto const end = input.find("\n\n");
  auto const backends = input.substr(0, end);
  if (has_large_number(dialect) || has_large_number(backends)) return;
  std::string const keys{end == std::string_view::npos ? "" : input.substr(end + 2)};
  require(::ftruncate(file, 0) == 0, "memory can be written");
  require(
      ::pwrite(file, backends.data(), backends.size(), 0) == static_cast<ssize_t>(backends.size()),
      "memory can be written");

  auto const path = "/proc/self/fd/" + std::to_string(file);
  std::vector<std::string> words{"keymap", "--dialect", dialect, "--backends", path};
  for (auto& word : split(further, ' ')) words.push_back(word == "FILE" ? path : std::move(word));
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  Streams const streams{keys};
  auto const status = keymap_main(static_cast<int>(arguments.size()), arguments.data());
  require(status == 0 || (status == 2 && streams.errors().starts_with("keymap: ")),
          "it works, or says what is wrong");
}
