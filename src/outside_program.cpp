// SPDX-License-Identifier: Apache-2.0
#include "outside_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace lamina {
namespace {

constexpr const char* search_path =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// In the child between vfork and exec: system calls only, nothing that belongs to the parent's
// memory is changed but `error`. Memory locks end with the exec by themselves.
[[noreturn]] void become(const char* path, char* const* arguments, char* const* environment,
                         volatile int& error) {
  prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
  if (const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); fd >= 0) {
    [[maybe_unused]] const ssize_t written = write(fd, "0", 1);
    close(fd);
  }
  setsid();
  const int nowhere = open("/dev/null", O_RDWR);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (nowhere >= 0) dup2(nowhere, standard);
  syscall(SYS_close_range, unsigned{STDERR_FILENO + 1}, ~0u, 0u);
  for (const int ignored : {SIGPIPE, SIGHUP}) signal(ignored, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(path, arguments, environment);
  error = errno;
  _exit(127);
}

// The thread sleeps until the program is executed; the process goes on. Not fork(): that would copy
// the tables of all the daemon's memory while its threads wait. Negative: errno.
pid_t start(const std::string& path, std::vector<char*>& arguments,
            std::vector<char*>& environment) {
  volatile int error = 0;
  const pid_t child = vfork();
  if (child == 0) become(path.c_str(), arguments.data(), environment.data(), error);
  if (child < 0) return -errno;
  if (error == 0) return child;
  waitpid(child, nullptr, 0);
  return -error;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

}  // namespace

OutsideProgram::OutsideProgram(std::string path, DaemonLog& log)
    : path_(std::move(path)),
      log_(log),
      ends_(eventfd(0, EFD_CLOEXEC)),
      thread_([this] { serve(); }) {}

OutsideProgram::~OutsideProgram() {
  {
    Lock lock(mutex_);
    ending_ = true;
  }
  asked_.notify_one();
  eventfd_write(ends_.get(), 1);
  thread_.join();
}

void OutsideProgram::run(std::vector<std::string> environment) {
  {
    Lock lock(mutex_);
    next_ = std::move(environment);
  }
  asked_.notify_one();
}

void OutsideProgram::serve() {
  for (;;) {
    std::vector<std::string> environment;
    {
      Lock lock(mutex_);
      while (!ending_ && !next_) asked_.wait(mutex_);
      if (ending_) return;
      environment = *std::exchange(next_, std::nullopt);
    }
    start_and_wait(environment);
  }
}

void OutsideProgram::say(const std::string& what) {
  log_.write(Settings::Severity::warning, path_ + " " + what);
}

void OutsideProgram::start_and_wait(const std::vector<std::string>& environment) {
  std::vector<std::string> argument_texts{path_}, environment_texts = environment;
  environment_texts.emplace_back(search_path);
  std::vector<char*> arguments = pointers(argument_texts);
  std::vector<char*> variables = pointers(environment_texts);
  const pid_t child = start(path_, arguments, variables);
  if (child < 0) return say(std::string("could not be run: ") + std::strerror(-child));
  const FileHandle process(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  std::array<pollfd, 2> watched{{{process.get(), POLLIN, 0}, {ends_.get(), POLLIN, 0}}};
  while (process && poll(watched.data(), watched.size(), -1) < 0 && errno == EINTR) {
  }
  if (watched[1].revents != 0 && watched[0].revents == 0) return;  // init reaps it
  int status = 0;
  if (waitpid(child, &status, 0) != child) return;
  if (WIFSIGNALED(status))
    say(std::string("was killed by signal ") + std::to_string(WTERMSIG(status)) + " (" +
        strsignal(WTERMSIG(status)) + ")");
  else if (WEXITSTATUS(status) != 0)
    say("ended with exit code " + std::to_string(WEXITSTATUS(status)));
}

}  // namespace lamina
