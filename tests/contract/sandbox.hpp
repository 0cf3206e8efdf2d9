// SPDX-License-Identifier: MIT
#pragma once

// Runs a function in a child process that the kernel kills at the first system call.

#include <cstddef>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tests {

enum class Sandbox { clean, made_a_system_call, failed, unavailable };

/// clean: `run` returned true and the kernel was asked nothing. *Requires* a single-threaded
/// process.
template <class Run>
Sandbox in_sandbox(Run const& run) {
  constexpr int good = 0;
  constexpr int bad = 1;
  constexpr int no_seccomp = 77;
  auto const child = fork();
  if (child < 0) return Sandbox::unavailable;
  if (child == 0) {
    sock_filter filter[]{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    sock_fprog const program{4, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0)
      _exit(no_seccomp);
    _exit(run() ? good : bad);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) return Sandbox::unavailable;
  if (WIFSIGNALED(status)) return Sandbox::made_a_system_call;
  if (WEXITSTATUS(status) == no_seccomp) return Sandbox::unavailable;
  return WEXITSTATUS(status) == good ? Sandbox::clean : Sandbox::failed;
}

}  // namespace tests
