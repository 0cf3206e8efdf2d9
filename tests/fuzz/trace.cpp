// SPDX-License-Identifier: MIT
// A simulation's files of measured latencies and recorded arrivals.

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <string>
#include <string_view>

#include "fuzz.hpp"
#include "simulate/scenario.hpp"

namespace {

/// A file in memory, rewritten for each input.
class MemoryFile {
 public:
  MemoryFile() : file_{::memfd_create("trace", 0)} {}
  MemoryFile(MemoryFile const&) = delete;
  MemoryFile& operator=(MemoryFile const&) = delete;
  ~MemoryFile() { ::close(file_); }

  void write(std::string_view text) const {
    bool const done = ::ftruncate(file_, 0) == 0 && ::pwrite(file_, text.data(), text.size(), 0) ==
                                                        static_cast<ssize_t>(text.size());
    tests::require(done, "memory can be written");
  }
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

}  // namespace

void tests::fuzz(std::string_view input) {
  static MemoryFile const file;
  file.write(input);
  try {
    auto const work = simulate::detail::read_work(file.path());
    require(std::isfinite(work.mean) && work.mean > 0, "a trace has a mean");
  } catch (poise::ConfigError const&) {
  }
  try {
    simulate::Arrivals arrivals;
    simulate::detail::Line const line{1, ""};
    auto const rate = simulate::detail::read_arrivals("", file.path(), line, arrivals);
    require(std::isfinite(rate) && rate > 0, "arrivals have a rate");
    for (auto const gap : *arrivals.gaps) require(gap >= 0, "time does not run back");
  } catch (poise::ConfigError const&) {
  }
}
