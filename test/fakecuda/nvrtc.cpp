// A stand-in for libnvrtc: checks a kernel file with g++, and returns its marked source as the image. It has a special version
// number, so that its images never mix with real ones in a cache.
#include "image.h"
#include <set>

#define EXPORT extern "C" __attribute__((visibility("default")))

enum Result { SUCCESS = 0, INVALID_INPUT = 3, INVALID_PROGRAM = 4, INVALID_OPTION = 5, COMPILATION = 6 };

struct Program {
  std::string name, source, log, image;
  bool ptx;
};
static std::set<Program *> programs;
static const int architectures[] = {75, 80, 86, 89, 90};

EXPORT const char *nvrtcGetErrorString(int result) {
  switch (result) {
    case SUCCESS: return "NVRTC_SUCCESS";
    case INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
    case INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
    case INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
    case COMPILATION: return "NVRTC_ERROR_COMPILATION";
    default: return "NVRTC_ERROR unknown";
  }
}

EXPORT int nvrtcVersion(int *major, int *minor) { return *major = 13, *minor = 99, SUCCESS; }

EXPORT int nvrtcGetNumSupportedArchs(int *count) { return *count = sizeof architectures / sizeof *architectures, SUCCESS; }

EXPORT int nvrtcGetSupportedArchs(int *list) { return memcpy(list, architectures, sizeof architectures), SUCCESS; }

EXPORT int nvrtcCreateProgram(Program **place, const char *source, const char *name, int headers, const char **, const char **) {
  if (!place || !source || headers != 0) return INVALID_INPUT;
  *place = new Program{name ? name : "default_program", source, "", "", false};
  programs.insert(*place);
  return SUCCESS;
}

EXPORT int nvrtcDestroyProgram(Program **place) {
  if (!place || !programs.erase(*place)) return INVALID_PROGRAM;
  delete *place;
  *place = nullptr;
  return SUCCESS;
}

static bool known(const std::string &option) {
  for (const char *prefix : {"--gpu-architecture=sm_", "--gpu-architecture=compute_", "--std=c++", "--fmad=", "--ptxas-options=", "-D"})
    if (option.rfind(prefix, 0) == 0) return true;
  return false;
}

EXPORT int nvrtcCompileProgram(Program *program, int count, const char **options) {
  if (!programs.count(program)) return INVALID_PROGRAM;
  std::string line = fake_mark;
  for (int i = 0; i < count; i++) {
    if (!known(options[i])) {
      program->log = std::string("nvrtc: error: unrecognized option ") + options[i] + " found";
      return INVALID_OPTION;
    }
    line += std::string(i ? " " : "") + options[i];
  }
  std::string image = line + "\n" + program->source, library;
  if (!fake_compile(image, library, program->log)) return COMPILATION;
  program->image = image;
  program->ptx = fake_architecture(image).rfind("compute_", 0) == 0;
  return SUCCESS;
}

static int give_size(Program *program, const std::string &text, bool there, size_t *size) {
  if (!programs.count(program)) return INVALID_PROGRAM;
  *size = there ? text.size() + 1 : 0;
  return SUCCESS;
}
static int give(Program *program, const std::string &text, char *place) {
  if (!programs.count(program)) return INVALID_PROGRAM;
  memcpy(place, text.c_str(), text.size() + 1);
  return SUCCESS;
}
EXPORT int nvrtcGetProgramLogSize(Program *p, size_t *size) { return give_size(p, p->log, true, size); }
EXPORT int nvrtcGetProgramLog(Program *p, char *place) { return give(p, p->log, place); }
EXPORT int nvrtcGetCUBINSize(Program *p, size_t *size) { return give_size(p, p->image, !p->image.empty() && !p->ptx, size); }
EXPORT int nvrtcGetCUBIN(Program *p, char *place) { return give(p, p->image, place); }
EXPORT int nvrtcGetPTXSize(Program *p, size_t *size) { return give_size(p, p->image, !p->image.empty(), size); }
EXPORT int nvrtcGetPTX(Program *p, char *place) { return give(p, p->image, place); }
