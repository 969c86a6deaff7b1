# Many raylets against a real head; not a Google Benchmark program. bench/head_load/run.py runs it.
if(SHOAL_BENCH AND TARGET shoal_hosts)
  add_executable(head_load
    head_load/fleet.cc head_load/leases.cc head_load/main.cc head_load/node.cc head_load/requests.cc
    ../runtime/bin/admin_client.cc)
  target_link_libraries(head_load PRIVATE shoal_cli shoal_hosts shoal_flags)
endif()
