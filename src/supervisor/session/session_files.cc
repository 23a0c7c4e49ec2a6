#include "supervisor/session/session_files.h"

#include <array>
#include <cerrno>

#include "control/file_messages.h"
#include "wire/session_reply.h"

namespace weir::supervisor {

namespace {

using sandbox::Inside;
using wire::ErrorCode;
using Do = wire::FileRequest::Do;

ErrorCode code_of(const Error& error) {
  switch (error.code()) {
    case ENOENT:
      return ErrorCode::not_found;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::forbidden;
    case ENOSPC:
    case EDQUOT:
    case EAGAIN:
    case ENOMEM:
      return ErrorCode::limit;
    case EFBIG:
      return ErrorCode::too_large;
    case EBUSY:
    case EEXIST:
    case ENOTEMPTY:
    case ECANCELED:
      return ErrorCode::conflict;
    case ENOTDIR:
    case EISDIR:
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
    case ENXIO:
    case EXDEV:
      return ErrorCode::bad_request;
    default:
      return ErrorCode::internal;
  }
}

Inside::FileTask::Do inside_of(Do what) {
  using To = Inside::FileTask::Do;
  switch (what) {
    case Do::get:
      return To::get;
    case Do::put:
      return To::put;
    case Do::list:
      return To::list;
    case Do::stat:
      return To::stat;
    case Do::remove:
      return To::remove;
    case Do::make_folder:
      return To::make_folder;
    case Do::tar:
      return To::tar;
    case Do::untar:
      return To::untar;
  }
  return To::stat;
}

}  // namespace

void SessionFiles::finish(ClientId client, const Error& error) {
  server_.finish(client, wire::error_line({.code = code_of(error), .message = error.what(), .remedy = error.remedy()}));
}

bool SessionFiles::changes_files(const wire::FileRequest& request) {
  switch (request.what) {
    case Do::put:
    case Do::untar:
    case Do::remove:
    case Do::make_folder:
      return true;
    case Do::get:
    case Do::list:
    case Do::stat:
    case Do::tar:
      return false;
  }
  return true;
}

void SessionFiles::serve(ClientId client, const wire::FileRequest& request) {
  const Inside::FileTask task{
      .what = inside_of(request.what), .path = request.path, .mode = request.mode, .recursive = request.recursive};
  const auto on_answer = [this, client, what = request.what](Result<Inside::FileAnswer> answer) {
    answered(client, what, std::move(answer));
  };
  const auto on_done = [this, client, what = request.what](const Result<>& how) { done(client, what, how); };
  tasks_[client] = {.id = inside_.files(task, on_answer, on_done), .what = request.what};
}

void SessionFiles::answered(ClientId client, Do what, Result<Inside::FileAnswer> answer) {
  const auto found = tasks_.find(client);
  if (!answer) {
    if (found != tasks_.end()) tasks_.erase(found);
    return finish(client, answer.error());
  }
  if (found == tasks_.end()) return;
  const int fd = answer->fd.get();
  wire::FileInfo info{.bytes = answer->bytes, .mode = answer->mode, .modified = answer->modified};
  switch (what) {
    case Do::stat:
      info.type = control::name_of(answer->type);
      return server_.finish(client, wire::session_reply_line(info));
    case Do::get:
      return server_.finish(client, wire::session_reply_line(info), std::array{fd});
    case Do::list:
      return server_.finish(client, wire::session_reply_line(wire::Done{}), std::array{fd});
    case Do::put:
    case Do::tar:
    case Do::untar:
      found->second.state = Task::State::open;
      return server_.send(client, wire::session_reply_line(wire::Done{}), std::array{fd});
    case Do::remove:
    case Do::make_folder:
      return;  // done() says so
  }
}

void SessionFiles::done(ClientId client, Do what, const Result<>& how) {
  tasks_.erase(client);
  if (what == Do::stat || what == Do::get || what == Do::list) return;  // answered before
  if (!how) return finish(client, how.error());
  server_.finish(client, wire::session_reply_line(wire::Done{}));
}

bool SessionFiles::take_line(ClientId client, const sys::LineStream::Line& line) {
  const auto found = tasks_.find(client);
  if (found == tasks_.end() || found->second.what != Do::put || found->second.state != Task::State::open ||
      !line.passed.empty() || !wire::parse_commit(line.text))
    return false;
  found->second.state = Task::State::committed;
  inside_.commit(found->second.id);
  return true;
}

void SessionFiles::client_ended(ClientId client) {
  const auto found = tasks_.find(client);
  if (found == tasks_.end()) return;
  // What was committed stands; who commits and goes does not hear of it.
  if (found->second.state == Task::State::committed) return;
  inside_.abandon(found->second.id);
  tasks_.erase(found);
  server_.drop(client);
}

}  // namespace weir::supervisor
