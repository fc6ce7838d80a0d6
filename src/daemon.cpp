// SPDX-License-Identifier: Apache-2.0
#include "daemon.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace lamina {
namespace {

constexpr char ready_word = '+', failed_word = '-';

std::string how_it_ended(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) == child && WIFSIGNALED(status))
    return std::string("it was killed by signal ") + std::to_string(WTERMSIG(status)) + " (" +
           strsignal(WTERMSIG(status)) + ")";
  return "it ended without a word";
}

// All that the child says until it closes its end.
std::string listen_to(int from_child) {
  std::string said;
  std::array<char, 4096> part{};
  while (true) {
    const ssize_t got = read(from_child, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return said;
    said.append(part.data(), static_cast<size_t>(got));
  }
}

void say(int to_parent, const std::string& words) {
  // A parent that was interrupted is no reason to stop.
  [[maybe_unused]] const ssize_t written = write(to_parent, words.data(), words.size());
}

}  // namespace

void Daemon::close_inherited() {
  // Where the kernel does not know the call (before 5.9), what was inherited stays.
  [[maybe_unused]] const long closed =
      syscall(SYS_close_range, unsigned{STDERR_FILENO + 1}, ~0u, 0u);
}

Result<std::optional<Daemon>> Daemon::start(Parent& parent) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    return fail(Code::io, std::string("cannot make a pipe: ") + std::strerror(errno));
  FileHandle from_child(ends[0]), to_parent(ends[1]);
  std::fflush(stdout);
  std::fflush(stderr);
  const pid_t child = fork();
  if (child < 0)
    return fail(Code::no_memory, std::string("cannot start the daemon: ") + std::strerror(errno));
  if (child == 0) {
    setsid();
    if (chdir("/") != 0) return fail(Code::io, "cannot go to /");
    return std::optional<Daemon>(Daemon(std::move(to_parent)));
  }
  to_parent = FileHandle();
  const std::string said = listen_to(from_child.get());
  parent.ready = !said.empty() && said[0] == ready_word;
  if (!parent.ready)
    parent.message =
        said.empty() ? "the daemon did not start: " + how_it_ended(child) : said.substr(1);
  return std::optional<Daemon>();
}

void Daemon::ready() {
  if (!to_parent_) return;
  const FileHandle nowhere(open("/dev/null", O_RDWR));
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (nowhere) dup2(nowhere.get(), standard);
  say(to_parent_.get(), std::string(1, ready_word));
  to_parent_ = FileHandle();
}

void Daemon::failed(const std::string& message) {
  if (!to_parent_) return;
  say(to_parent_.get(), failed_word + message);
  to_parent_ = FileHandle();
}

}  // namespace lamina
