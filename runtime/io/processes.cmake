# Processes of a node: what starts, watches and ends them.
shoal_library(shoal_processes
  SRCS daemon_loop.cc event_log.cc log_capture.cc nanny.cc node_resources.cc process_tree.cc spawn.cc
       worker_processes.cc zygote.cc
  DEPS shoal_local_io shoal_messages shoal_arena Threads::Threads)
foreach(part log_capture nanny node_resources process_tree spawn zygote)
  shoal_test(${part}_test SRCS ${part}_test.cc DEPS shoal_processes)
endforeach()

# The head and the raylet with their surroundings.
if(TARGET shoal_scheduler AND TARGET shoal_raylet AND TARGET shoal_network)
  shoal_library(shoal_hosts
    SRCS head_host.cc head_times.cc local_hub.cc raylet_host.cc transfers.cc
    DEPS shoal_processes shoal_scheduler shoal_raylet shoal_network shoal_codec shoal_bulk shoal_arena)
  shoal_test(local_hub_test SRCS local_hub_test.cc DEPS shoal_hosts)
endif()
