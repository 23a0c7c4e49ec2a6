// What each endpoint does. A handler ends with its reply, or has streamed it; a refusal becomes the error envelope,
// unless the answer has begun: then the connection ends without the end of the answer.
#pragma once

#include <string>

#include "daemon/bodies.h"
#include "daemon/daemon.h"

namespace weir::daemon {

// `body`: read and bounded already, where the table of routes says so; empty elsewhere.
using Handler = Task<Outcome> (*)(Call& call, std::string body);

// Sessions and services share theirs: the endpoint says which is meant.
Task<Outcome> execute_once(Call& call, std::string body);
Task<Outcome> create_session(Call& call, std::string body);
Task<Outcome> list_sessions(Call& call, std::string body);
Task<Outcome> show_session(Call& call, std::string body);
Task<Outcome> delete_session(Call& call, std::string body);
Task<Outcome> run_in_session(Call& call, std::string body);
Task<Outcome> list_processes(Call& call, std::string body);
Task<Outcome> signal_process(Call& call, std::string body);
Task<Outcome> write_stdin(Call& call, std::string body);
Task<Outcome> process_output(Call& call, std::string body);
Task<Outcome> list_files(Call& call, std::string body);
Task<Outcome> get_file(Call& call, std::string body);
Task<Outcome> put_file(Call& call, std::string body);
Task<Outcome> delete_file(Call& call, std::string body);
Task<Outcome> narrow_network(Call& call, std::string body);
Task<Outcome> follow_events(Call& call, std::string body);
Task<Outcome> open_shell(Call& call, std::string body);
Task<Outcome> create_snapshot(Call& call, std::string body);
Task<Outcome> list_snapshots(Call& call, std::string body);
Task<Outcome> show_snapshot(Call& call, std::string body);
Task<Outcome> delete_snapshot(Call& call, std::string body);
Task<Outcome> export_snapshot(Call& call, std::string body);
Task<Outcome> import_snapshot(Call& call, std::string body);
Task<Outcome> list_images(Call& call, std::string body);
Task<Outcome> show_image(Call& call, std::string body);
Task<Outcome> import_image(Call& call, std::string body);
Task<Outcome> delete_image(Call& call, std::string body);
Task<Outcome> service_logs(Call& call, std::string body);
Task<Outcome> show_health(Call& call, std::string body);
Task<Outcome> show_metrics(Call& call, std::string body);
Task<Outcome> show_openapi(Call& call, std::string body);

}  // namespace weir::daemon
