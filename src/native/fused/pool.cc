#include "pool.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>

namespace gqa {

// What TensorFlow's environment variable says, else the processors of this process.
int Pool::threads() {
  if (const char* asked = std::getenv("TF_NUM_INTRAOP_THREADS"))
    if (int count = std::atoi(asked); count > 0) return count;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return std::max(1, CPU_COUNT(&allowed));
  return std::max(1u, std::thread::hardware_concurrency());
}

Pool& Pool::shared() {
  static Pool* pool = new Pool;
  return *pool;
}

Pool::Pool() : size_(threads()) {
  for (int i = 1; i < size_; i++) std::thread([this] { serve(); }).detach();
}

void Pool::share(Job& job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(&job);
  }
  if (job.parts == 2)
    arrived_.notify_one();
  else
    arrived_.notify_all();
  work(job);
  // Nobody may begin with it now; who has begun is waited for, shortly without sleeping: parts are of one length.
  for (int i = 0; i < 2000 && job.open.load(std::memory_order_acquire) > 0; i++) __builtin_ia32_pause();
  std::unique_lock<std::mutex> lock(mutex_);
  jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
  left_.wait(lock, [&] { return job.open.load(std::memory_order_acquire) == 0 && job.visitors == 0; });
}

void Pool::work(Job& job) {
  for (int part; (part = job.next.fetch_add(1, std::memory_order_relaxed)) < job.parts;) {
    job.call(job.body, part);
    job.open.fetch_sub(1, std::memory_order_release);
  }
}

Pool::Job* Pool::waiting() {
  for (Job* job : jobs_)
    if (job->next.load(std::memory_order_relaxed) < job->parts) return job;
  return nullptr;
}

void Pool::serve() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    Job* job = nullptr;
    arrived_.wait(lock, [&] { return (job = waiting()) != nullptr; });
    job->visitors++;
    lock.unlock();
    work(*job);
    lock.lock();
    job->visitors--;
    left_.notify_all();
  }
}

}  // namespace gqa
