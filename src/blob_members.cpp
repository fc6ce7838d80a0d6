// SPDX-License-Identifier: Apache-2.0
#include "blob_members.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "config/pool_config.h"
#include "config/quantity.h"
#include "lamina_path.h"
#include "progress.h"
#include "status_report.h"

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

struct MemberOptions {
  std::string pool, blob;
  bool json = false, force = false, keep = false, no_wait = false, accept_loss = false;
};

// Errors of the control plane are numbers; what was the matter is in the status.
Result<> ask(const LaminaPath& mount, const std::string& key, const std::string& value,
             const std::string& what) {
  auto asked = set_control(mount, key, value);
  if (asked || asked.error().code == Code::not_permitted) return asked;
  const auto status = read_status(mount.mount);
  const std::string why = status ? status->value("members_refused", "") : "";
  if (why.empty()) return asked;
  return fail(asked.error().code, what + ": " + why);
}

Result<Json> blob_status(const std::string& mount, const std::string& name) {
  auto status = read_status(mount);
  if (!status) return forward_error(status);
  for (Json& blob : (*status)["blobs"])
    if (blob.value("name", "") == name) return std::move(blob);
  return fail(Code::not_found, "the pool at " + mount + " has no blob \"" + name +
                                   "\"; `lamina blob ls " + mount + "` lists them");
}

// ---------------------------------------------------------------- add

Result<ExitCode> add(const MemberOptions& options) {
  if (const auto mount = find_mount(options.pool))
    return fail(Code::invalid, options.pool +
                                   " is a mount: name the pool file that the next mount will read, "
                                   "with a line for the new blob in it");
  const auto config = load_pool_config(options.pool);
  if (!config) return std::unexpected(config.error());
  if (!config->from_yaml)
    return fail(Code::invalid,
                options.pool +
                    " is the pool itself; one of several blobs has a pool file (YAML) that names "
                    "them all, by which it is mounted");
  if (std::ranges::find(config->blobs, options.blob, &BlobConfig::name) == config->blobs.end())
    return fail(Code::not_found, config->file + " does not name a blob \"" + options.blob +
                                     "\"; add its line to it first: {name: " + options.blob +
                                     ", kind: ..., path: ...}");
  const auto serving = find_serving(*config);
  if (!serving)
    return fail(Code::not_found, "the pool of " + config->file +
                                     " is not mounted; a blob is added while it is: `lamina mount` "
                                     "by the file without the new line, then this");
  const auto mount = find_mount(serving->mount);
  if (!mount) return std::unexpected(mount.error());
  const std::string value =
      options.blob + "\n" + config->file + "\n" + (options.force ? "force" : "");
  LAMINA_TRY(ask(*mount, "blob_add", value, "cannot add \"" + options.blob + "\""));
  const auto blob = blob_status(mount->mount, options.blob);
  if (!blob) return std::unexpected(blob.error());
  if (options.json)
    std::printf("%s\n", blob->dump(2).c_str());
  else
    std::printf("%s: %s, tier %d, %s on %s\n", options.blob.c_str(),
                blob->value("kind", "").c_str(), blob->value("tier", 0),
                format_size(blob->value("size", uint64_t{0})).c_str(),
                blob->value("path", "").c_str());
  return ExitCode::done;
}

// ---------------------------------------------------------------- evacuate

Result<ExitCode> keep(const LaminaPath& mount, const MemberOptions& options) {
  LAMINA_TRY(ask(mount, "blob_keep", options.blob, "cannot keep \"" + options.blob + "\""));
  if (options.json)
    std::printf("%s\n", Json{{"blob", options.blob}, {"state", "serves"}}.dump(2).c_str());
  else
    std::printf("%s serves again; what has left it stays where it is\n", options.blob.c_str());
  return ExitCode::done;
}

// Until it has ended, one way or the other; the result is bytes that were moved.
Result<uint64_t> wait_until_empty(const LaminaPath& mount, const MemberOptions& options,
                                  uint64_t moved_before, uint64_t all) {
  Progress progress;
  for (auto wait = first_poll;; wait = std::min(2 * wait, between_polls)) {
    const auto now = read_status(mount.mount);
    if (!now) return std::unexpected(now.error());
    const Json evacuation = now->value("evacuation", Json());
    const uint64_t moved =
        now->value("mover", Json::object()).value("evacuated_bytes", uint64_t{0}) - moved_before;
    if (!evacuation.is_object() || evacuation.value("blob", "") != options.blob)
      return fail(Code::invalid, "the evacuation of \"" + options.blob +
                                     "\" was given up: somebody keeps or has removed it");
    const std::string state = evacuation.value("state", "");
    if (state == "empty") return moved;
    if (state == "stopped")
      return fail(Code::busy, "the evacuation of \"" + options.blob +
                                  "\" has stopped: " + evacuation.value("why", ""));
    const uint64_t left = evacuation.value("left_bytes", uint64_t{0});
    progress.tell("evacuating, bytes", all - std::min(all, left), all);
    std::this_thread::sleep_for(wait);
  }
}

Result<ExitCode> evacuate(const MemberOptions& options) {
  const auto mount = find_mount(options.pool);
  if (!mount) return std::unexpected(mount.error());
  if (options.keep) return keep(*mount, options);
  const auto before = read_status(mount->mount);
  if (!before) return std::unexpected(before.error());
  const auto blob = blob_status(mount->mount, options.blob);
  if (!blob) return std::unexpected(blob.error());
  LAMINA_TRY(
      ask(*mount, "blob_evacuate", options.blob, "cannot evacuate \"" + options.blob + "\""));
  if (options.no_wait) {
    if (options.json)
      std::printf("%s\n", Json{{"blob", options.blob}, {"state", "leaving"}}.dump(2).c_str());
    else
      std::printf("%s is being evacuated; `lamina blob ls %s` shows how far it is\n",
                  options.blob.c_str(), mount->mount.c_str());
    return ExitCode::done;
  }
  const uint64_t moved_before =
      before->value("mover", Json::object()).value("evacuated_bytes", uint64_t{0});
  const auto moved =
      wait_until_empty(*mount, options, moved_before, blob->value("data_bytes", uint64_t{0}));
  if (!moved) return std::unexpected(moved.error());
  if (options.json)
    std::printf(
        "%s\n",
        Json{{"blob", options.blob}, {"state", "empty"}, {"moved_bytes", *moved}}.dump(2).c_str());
  else
    std::printf("%s is empty, %s went elsewhere; `lamina blob remove %s %s` lets it go\n",
                options.blob.c_str(), format_size(*moved).c_str(), mount->mount.c_str(),
                options.blob.c_str());
  return ExitCode::done;
}

// ---------------------------------------------------------------- remove

Result<ExitCode> remove(const MemberOptions& options) {
  const auto mount = find_mount(options.pool);
  if (!mount) return std::unexpected(mount.error());
  const auto blob = blob_status(mount->mount, options.blob);
  if (!blob) return std::unexpected(blob.error());
  LAMINA_TRY(ask(*mount, options.accept_loss ? "blob_remove_lossy" : "blob_remove", options.blob,
                 "cannot remove \"" + options.blob + "\""));
  const std::string path = blob->value("path", "");
  const auto after = read_status(mount->mount);
  if (!after) return std::unexpected(after.error());
  const uint64_t lost = after->value("lost_ranges", uint64_t{0});
  if (options.json)
    std::printf(
        "%s\n",
        Json{{"blob", options.blob}, {"path", path}, {"lost_ranges", lost}}.dump(2).c_str());
  else if (options.accept_loss)
    std::printf(
        "%s is removed; take its line out of the pool file. %s/.lamina/lost lists %llu "
        "ranges that cannot be read\n",
        options.blob.c_str(), mount->mount.c_str(), static_cast<unsigned long long>(lost));
  else
    std::printf("%s is removed, and %s is wiped and free; take its line out of the pool file\n",
                options.blob.c_str(), path.c_str());
  return ExitCode::done;
}

}  // namespace

void add_blob_members(Command& blob) {
  const auto adding = std::make_shared<MemberOptions>();
  blob.command("add", "Add a blob that the pool file names to the mounted pool")
      .word("POOL", adding->pool, "The pool file (YAML), with a line for the new blob in it")
      .word("NAME", adding->blob, "What the file calls it")
      .flag("--force", adding->force, "Overwrite what the disk holds")
      .json(adding->json)
      .example("lamina blob add /etc/lamina/vmstore.yaml bulk2")
      .action([adding] { return add(*adding); });
  const auto leaving = std::make_shared<MemberOptions>();
  blob.command("evacuate", "Move everything on a blob to the others, while all goes on")
      .word("MOUNT", leaving->pool, "Where the pool is mounted")
      .word("NAME", leaving->blob, "The blob; nothing new is put on it from now on")
      .flag("--no-wait", leaving->no_wait, "Return when it has begun")
      .flag("--keep", leaving->keep, "End its evacuation: it is used again")
      .json(leaving->json)
      .example("lamina blob evacuate /mnt/pool bulk && lamina blob remove /mnt/pool bulk")
      .action([leaving] { return evacuate(*leaving); });
  const auto removing = std::make_shared<MemberOptions>();
  blob.command("remove", "Let an empty blob go: its disk is wiped and free for other uses")
      .word("MOUNT", removing->pool, "Where the pool is mounted")
      .word("NAME", removing->blob, "The blob, which `evacuate` has emptied")
      .flag("--accept-loss", removing->accept_loss,
            "Empty it first; what cannot be read there is lost, and listed")
      .json(removing->json)
      .example("lamina blob remove /mnt/pool bulk")
      .action([removing] { return remove(*removing); });
}

}  // namespace lamina
