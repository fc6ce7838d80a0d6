// SPDX-License-Identifier: Apache-2.0
#include "fork_target.h"

namespace lamina {

Result<std::string> name_beside(const LaminaPath& device, const std::string& typed,
                                const std::string& what) {
  if (typed.empty())
    return fail(Code::invalid, "cannot " + what + " " + device.path() + ": no name is given");
  const bool is_path = typed.find('/') != std::string::npos;
  auto named = find_device(is_path ? typed : device.mount + "/" + typed, false);
  if (!named) return forward_error(named);
  if (named->mount != device.mount)
    return fail(Code::invalid, "cannot " + what + " " + device.path() + " with " + named->path() +
                                   ": they are different pools");
  return named->name;
}

Result<> fork_device(const LaminaPath& device, const std::string& key, const std::string& name) {
  const auto done = set_control(device, key, name);
  if (!done && done.error().code == Code::exists)
    return fail(Code::exists, "cannot make " + device.mount + "/" + name + " from " +
                                  device.path() +
                                  ": it exists; `lamina rm` it or take another name");
  return done;
}

}  // namespace lamina
