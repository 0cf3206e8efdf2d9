// SPDX-License-Identifier: MIT
#pragma once

// A process that has no file descriptors left.

#include <sys/resource.h>

namespace tests {

/// While it lives, every new file or socket fails with EMFILE.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    auto limit = before_;
    limit.rlim_cur = 3;  // the standard streams: what another thread closes is above it
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  NoDescriptors(NoDescriptors const&) = delete;
  NoDescriptors& operator=(NoDescriptors const&) = delete;
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace tests
