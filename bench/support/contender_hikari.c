/*
 * contender_hikari.c - HikariCP, the fast pool of the Java world, over a stub data source. It runs
 * in a JVM beside this process that does nothing until it is asked for a number of cycles, and
 * answers with its own thread's CPU time, so it takes its turn like the others.
 */
#include "support/bench.h"
#include "support/contender.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define JARS "/usr/share/java/"

static pid_t jvm;
static FILE *questions;
static FILE *answers;

static bool ask(int64_t count, double *answer)
{
  if (fprintf(questions, "%" PRId64 "\n", count) < 0 || fflush(questions) != 0) {
    return false;
  }
  return fscanf(answers, "%lf", answer) == 1;
}

static void close_jvm(void)
{
  if (questions != NULL) {
    fclose(questions); /* the end of its input ends it */
  }
  if (answers != NULL) {
    fclose(answers);
  }
  questions = answers = NULL;
  if (jvm > 0) {
    while (waitpid(jvm, NULL, 0) < 0 && errno == EINTR) {
    }
  }
  jvm = 0;
}

/* Java compiles the one source file itself (JEP 330), so nothing of Java is part of the build. */
static bool spawn_jvm(int input, int output, char *connections)
{
  char classpath[] = JARS "HikariCP.jar:" JARS "slf4j-api.jar:" JARS "slf4j-nop.jar";
  char java[] = "java";
  char classpath_flag[] = "-cp";
  char collector[] = "-XX:+UseSerialGC";
  char heap[] = "-Xmx128m";
  char source[] = BENCH_SOURCE_DIR "/support/HikariPeer.java";
  char *args[] = {java, collector, heap, classpath_flag, classpath, source, connections, NULL};
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0) {
    return false;
  }
  bool done = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO) == 0 &&
              posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO) == 0 &&
              posix_spawnp(&jvm, java, &actions, NULL, args, environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  return done;
}

static const char *open_jvm(int connections)
{
  if (access(JARS "HikariCP.jar", R_OK) != 0 || access(JARS "slf4j-api.jar", R_OK) != 0) {
    return "libhikaricp-java or libslf4j-java is not installed";
  }
  int to_jvm[2];
  int from_jvm[2];
  if (pipe2(to_jvm, O_CLOEXEC) != 0 || pipe2(from_jvm, O_CLOEXEC) != 0) {
    return "no pipe";
  }
  signal(SIGPIPE, SIG_IGN);
  char text[16];
  snprintf(text, sizeof text, "%d", connections);
  bool spawned = spawn_jvm(to_jvm[0], from_jvm[1], text);
  close(to_jvm[0]);
  close(from_jvm[1]);
  questions = fdopen(to_jvm[1], "w");
  answers = fdopen(from_jvm[0], "r");
  double cost = 0;
  if (!spawned || questions == NULL || answers == NULL || !ask(1, &cost)) {
    close_jvm();
    return spawned ? "java could not run it (it needs a JDK)" : "java is not installed";
  }
  return NULL;
}

static double cycle(int64_t count)
{
  double cost = 0;
  if (!ask(count, &cost)) {
    bench_die("the JVM with HikariCP is gone");
  }
  return cost;
}

const bench_contender bench_hikari = {
    .name = "HikariCP",
    .open = open_jvm,
    .close = close_jvm,
    .cycle = cycle,
};
