"""Which test holds which hostile input and which fault. The tables name tests; that those exist is
checked here, so that none of them is lost without a word.

LAYERS are tars (eager) and their lazy twins, TABLES are tables of contents, REGISTRIES what servers
may say, CONTEXTS, COMMANDS, SECRETS and OUTPUTS the rest of a build, FAULTS what may go wrong; the
numbers are those in the names of tests.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
UNPACK = "rootless/test_snapshots_unpack.py"
TAR = "unit/estargz/test_estargz_tar_reader.py"
STREAMS = "unit/estargz/test_estargz_streams.py"
TOC = "unit/estargz/test_estargz_hostile_toc.py"
TREE = "unit/lazyfs/test_lazyfs_tree.py"
OPENING = "unit/lazyfs/test_lazyfs_opening.py"
READER = "unit/lazyfs/test_lazyfs_reader.py"
VIEWS = "rootless/test_lazyfs_views.py"
LAZY_FAULTS = "rootless/test_lazyfs_faults.py"
HOSTILE = "rootless/test_hostile_layers.py"
IMAGES = "unit/sources/test_sources_images.py"
CODEC = "unit/oci/test_oci_codec.py"
CLIENT = "unit/registry/test_registry_client.py"
AUTH = "unit/registry/test_registry_auth.py"
RANGES = "unit/registry/test_registry_ranges.py"
TLS = "unit/registry/test_registry_tls.py"
SMALL = "unit/registry/test_registry_small.py"
CREDENTIALS = "unit/registry/test_registry_credentials.py"
REFERRERS = "unit/registry/test_registry_referrers.py"
BUILDS = "rootless/test_faults_of_registries.py"
MIDDLE = "rootless/test_faults_on_the_way.py"
DAEMON = "rootless/test_faults_of_lazyfs.py"
SECURITY = "rootless/test_security_builds.py"
STEPS = "rootless/test_security_steps.py"
RACES = "rootless/test_security_races.py"
IDENTITY = "rootless/test_sandbox_identity.py"
MOUNTS = "rootless/test_sandbox_mounts.py"
LIFE = "rootless/test_sandbox_life.py"
LIMITS = "rootless/test_faults_limits.py"
DISK = "rootless/test_faults_disk.py"
SIGNALS = "rootless/test_faults_signals.py"
HOST = "rootless/test_faults_host.py"
DOUBT = "unit/store/test_store_doubt.py"
STORE = "unit/store/test_store_root.py"
META = "unit/store/test_store_meta.py"
COLLECTOR = "unit/store/test_store_gc.py"
HTTP = "unit/sources/test_sources_http.py"
GIT = "unit/sources/test_sources_git.py"
SHOWN = "unit/cli/test_cli_views.py"

LAYERS = {
    "1 dots upwards": (
        f"{UNPACK}::test_01_dots_upwards",
        f"{TAR}::test_names_outside_are_refused_and_absolute_ones_are_inside",
    ),
    "2 absolute": (f"{UNPACK}::test_02_absolute",),
    "3 through a link out": (
        f"{UNPACK}::test_03_through_a_link_to_the_root",
        f"{UNPACK}::test_03_through_a_link_upwards",
    ),
    "4 loops of links": (
        f"{UNPACK}::test_04_a_loop_is_data_until_something_goes_through_it",
        f"{UNPACK}::test_04_through_a_loop",
    ),
    "5 too long by way of links": (f"{UNPACK}::test_05_longer_than_a_path_can_be_by_way_of_links",),
    "6 hard link to the host": (f"{UNPACK}::test_06_hard_link_to_the_host",),
    "7 hard links to what is no file": (
        f"{UNPACK}::test_07_hard_link_to_what_is_no_file",
        f"{UNPACK}::test_07_hard_link_to_a_link_names_the_link",
    ),
    "8 hard link to a lower layer": (
        f"{HOSTILE}::test_08_a_hard_link_to_a_file_of_a_lower_layer_is_a_link_in_the_new_one",
    ),
    "9 an entry under a file": (
        f"{UNPACK}::test_09_an_entry_under_a_file_replaces_it",
        f"{TREE}::test_a_file_takes_the_place_of_a_directory_and_the_other_way_round",
    ),
    "10 directory becomes a link": (
        f"{UNPACK}::test_10_a_directory_that_becomes_a_link",
        f"{UNPACK}::test_10_a_directory_made_through_a_link_does_not_change_the_target",
    ),
    "11 odd whiteouts": (
        f"{UNPACK}::test_11_whiteouts_of_nothing",
        f"{UNPACK}::test_11_an_opaque_mark_under_a_file",
        f"{TREE}::test_whiteouts_that_name_nothing_hide_nothing",
    ),
    "12 whiteouts": (
        f"{UNPACK}::test_12_a_whiteout_is_a_device_and_keeps_what_the_layer_itself_has",
        f"{TREE}::test_a_whiteout_does_not_hide_what_its_own_layer_brings",
    ),
    "13 duplicates": (
        f"{UNPACK}::test_13_the_last_of_duplicates_wins",
        f"{UNPACK}::test_13_a_directory_again_keeps_its_files",
        f"{TREE}::test_the_last_of_two_wins",
    ),
    "14 odd names": (
        f"{UNPACK}::test_14_odd_names",
        f"{UNPACK}::test_14_a_name_that_is_too_long",
        f"{TREE}::test_names_no_kernel_holds_are_refused",
    ),
    "15 setuid": (f"{UNPACK}::test_15_setuid_and_owners",),
    "16 devices": (f"{UNPACK}::test_16_devices_are_metadata_only", f"{TREE}::test_devices"),
    "17 pipes and sockets": (
        f"{UNPACK}::test_17_a_fifo_is_made_and_not_opened",
        f"{TREE}::test_what_no_honest_writer_makes_is_refused",
    ),
    "18 sizes": (f"{UNPACK}::test_18_sizes_that_no_file_has",),
    "19 PAX against the header": (
        f"{UNPACK}::test_19_what_pax_headers_say_is_judged_too",
        f"{TAR}::test_pax_size_rules_over_the_header",
    ),
    "20 sparse exbibyte": (
        f"{UNPACK}::test_20_a_sparse_file_of_an_exbibyte",
        f"{TAR}::test_a_sparse_map_of_an_exbibyte",
    ),
    "21 attributes of overlay": (
        f"{UNPACK}::test_21_foreign_attributes_are_dropped",
        f"{TREE}::test_attributes_of_overlay_are_dropped_and_capabilities_lose_their_namespace",
    ),
    "22 capabilities": (f"{UNPACK}::test_22_capabilities_come_back_as_revision_2",),
    "23 owners": (f"{UNPACK}::test_23_ids_that_no_namespace_has",),
    "24 times": (
        f"{UNPACK}::test_24_times_are_clamped",
        f"{TREE}::test_times_before_and_after_the_epoch",
    ),
    "25 many and deep": (
        f"{UNPACK}::test_25_deep_nesting",
        f"{TAR}::test_limits_hold",
        f"{LAZY_FAULTS}::test_a_directory_of_many_names",
    ),
    "26 ends and tails": (
        f"{UNPACK}::test_26_a_layer_that_ends_early",
        f"{TAR}::test_what_follows_the_end_is_not_looked_at",
        f"{TAR}::test_an_archive_that_ends_early",
    ),
    "27 bombs": (
        f"{STREAMS}::test_bombs_stop_at_the_size_and_at_the_ratio",
        f"{STREAMS}::test_a_bomb_of_many_members",
        f"{STREAMS}::test_a_zstd_window_of_two_gigabytes",
    ),
    "28 behind gzip": (f"{STREAMS}::test_garbage_behind_gzip",),
    "29 wrong media types": (
        f"{HOSTILE}::test_29_bytes_count_and_not_what_the_media_type_calls_them",
        f"{HOSTILE}::test_29_what_can_not_be_read_is_named",
        f"{IMAGES}::test_an_encrypted_layer_is_called_so",
    ),
    "30 diff IDs": (f"{HOSTILE}::test_30_content_other_than_the_config_s_is_refused",),
    "31 foreign layers": (f"{IMAGES}::test_a_foreign_layer_is_refused",),
    "32 many layers": (
        "rootless/test_snapshots_overlay.py::test_more_layers_than_a_page_of_options_holds",
    ),
    "all: the views agree": (f"{VIEWS}::test_the_lazy_view_is_the_view_of_the_tar",),
}

TABLES = {
    "33 another digest": (
        f"{HOSTILE}::test_33_a_table_other_than_the_manifest_s_is_refused",
        f"{OPENING}::test_another_digest_is_refused",
    ),
    "34 no annotation": (
        f"{OPENING}::test_a_layer_nobody_vouches_for_is_not_lazy",
        "rootless/test_unverified.py::test_a_plain_layer_stays_eager_whatever_is_allowed",
    ),
    "35 footers that lead nowhere": (
        f"{TOC}::test_a_footer_past_the_end_is_no_footer",
        f"{TOC}::test_a_footer_that_points_at_itself_is_no_footer",
        f"{OPENING}::test_a_footer_that_points_elsewhere",
    ),
    "36 JSON": (
        f"{TOC}::test_json_that_is_no_toc",
        f"{TOC}::test_duplicate_keys_do_not_split_the_view",
        f"{OPENING}::test_a_toc_of_a_gigabyte_is_refused_before_it_is_read",
    ),
    "37 offsets": (
        f"{TOC}::test_fields_out_of_range",
        f"{TOC}::test_a_piece_shared_by_two_files",
    ),
    "38 no chunk digest": (
        f"{TOC}::test_fields_out_of_range",
        f"{TREE}::test_what_no_honest_writer_makes_is_refused",
    ),
    "39 wrong chunk digest": (
        f"{LAZY_FAULTS}::test_a_toc_that_lies_about_a_chunk_gives_no_byte",
        f"{BUILDS}::test_no_12_what_stays_corrupt_fails_the_build_and_names_the_chunk",
    ),
    "40 holes and overlaps": (f"{TOC}::test_chunks_that_do_not_cover_their_file",),
    "41 table and tar differ": ("unit/estargz/test_estargz_agreement.py::test_each_lie_is_found",),
    "42 names": (
        f"{TOC}::test_names_that_leave_the_layer_or_name_nothing",
        f"{TOC}::test_hard_links_that_lead_nowhere",
    ),
    "43 our own names": (
        f"{UNPACK}::test_43_landmarks_and_the_toc_are_left_out",
        f"{TREE}::test_our_own_files_are_hidden_at_the_root_only",
        f"{TOC}::test_landmarks_bound_the_prefetch",
    ),
    "44 two formats": (
        f"{TOC}::test_both_formats_at_once_are_refused",
        f"{IMAGES}::test_a_layer_that_claims_two_formats_is_refused",
    ),
    "45 huge prefetch": (
        "unit/lazyfs/test_lazyfs_plan.py::test_a_landmark_is_followed_within_reason",
    ),
    "46 members that inflate": (
        f"{TOC}::test_a_piece_that_inflates_beyond_its_size_is_cut_and_refused",
        f"{READER}::test_a_member_that_inflates_to_more_is_cut_and_one_with_less_is_corrupt",
    ),
    "47 many names, whiteouts": (
        f"{LAZY_FAULTS}::test_a_directory_of_many_names",
        "rootless/test_snapshots_overlay.py::test_the_merged_tree_is_what_the_kernel_shows",
    ),
}

REGISTRIES = {
    "78 another digest, a tag that moves": (
        f"{CLIENT}::test_bytes_that_do_not_match_the_digest_are_refused",
        f"{MIDDLE}::test_no_15_and_78_a_tag_that_moves_changes_no_build_and_what_is_deleted_is_told_so",
    ),
    "79 manifests": (
        f"{BUILDS}::test_no_79_a_manifest_that_is_too_large_is_refused",
        f"{CODEC}::test_hostile_manifests_are_refused",
        f"{CLIENT}::test_what_is_no_image_is_told_so",
        f"{CLIENT}::test_an_index_in_an_index_is_only_a_descriptor_here",
    ),
    "80 digests": (
        f"{CODEC}::test_hostile_manifests_are_refused",
        f"{CLIENT}::test_a_digest_from_a_header_is_checked",
    ),
    "81 redirects elsewhere": (
        f"{AUTH}::test_a_redirect_to_another_port_gets_no_authorization",
        f"{AUTH}::test_a_redirect_that_comes_back_does_not_bring_the_authorization_back",
    ),
    "82 https to http": (f"{TLS}::test_a_redirect_from_https_to_http_is_refused",),
    "83 realms": (
        f"{AUTH}::test_a_realm_elsewhere_on_plain_http_is_not_asked",
        f"{TLS}::test_credentials_are_not_given_to_a_realm_of_strangers",
        f"{TLS}::test_who_may_be_asked_for_tokens_and_who_may_see_secrets",
    ),
    "84 upload locations": (f"{AUTH}::test_an_upload_location_elsewhere_gets_no_credentials",),
    "85 similar hosts": (
        f"{CREDENTIALS}::test_a_host_is_matched_exactly_and_a_path_on_its_boundaries",
    ),
    "86 mirrors": (
        f"{CLIENT}::test_a_mirror_that_serves_other_bytes_is_passed_over",
        f"{CLIENT}::test_a_mirror_gets_its_own_credentials_only",
        f"{MIDDLE}::test_no_1_and_12_a_mirror_with_faults_is_left_for_the_origin",
    ),
    "87 helpers": (
        f"{CREDENTIALS}::test_a_helper_name_is_no_path",
        f"{CREDENTIALS}::test_no_helper_comes_from_the_working_directory",
    ),
    "88 secrets": (
        f"{CREDENTIALS}::test_a_file_that_all_can_read_is_warned_of",
        f"{AUTH}::test_no_secret_in_any_message",
    ),
    "89 ranges": (
        f"{RANGES}::test_a_wrong_content_range_is_refused",
        f"{RANGES}::test_encoded_content_is_refused",
        f"{BUILDS}::test_no_89_a_range_other_than_the_one_asked_for_is_not_taken",
    ),
    "90 no end": (
        f"{REFERRERS}::test_pages_in_a_circle_come_to_an_end",
        f"{SMALL}::test_retry_after_is_capped",
    ),
}

CONTEXTS = {
    "48 links out": (f"{SECURITY}::test_a_link_in_the_context_is_copied_as_a_link",),
    "49 sources outside": (f"{SECURITY}::test_copy_reads_nothing_beyond_the_context",),
    "50 targets through links": (
        f"{SECURITY}::test_a_copy_through_a_link_of_the_image_stays_in_the_image",
    ),
    "51 swapped meanwhile": (
        f"{RACES}::test_a_directory_swapped_for_a_link_while_it_is_read",
        f"{RACES}::test_a_directory_swapped_for_a_link_while_it_is_copied",
    ),
    "52 pipes and sockets": (
        f"{SECURITY}::test_pipes_and_sockets_in_the_context_make_no_build_hang",
    ),
    "53 ignore files": (
        f"{SECURITY}::test_a_hostile_ignore_file_opens_nothing",
        f"{SECURITY}::test_an_ignore_file_of_nested_stars_takes_no_time",
        f"{SECURITY}::test_an_ignore_file_that_leads_out_is_not_shown",
    ),
    "54 Dockerfiles": (
        f"{SECURITY}::test_a_dockerfile_that_is_a_pipe_is_refused",
        f"{SECURITY}::test_a_dockerfile_that_is_none_is_refused",
        f"{STEPS}::test_a_dockerfile_that_leads_out_of_its_context_is_not_shown",
    ),
    "55 archives": (f"{SECURITY}::test_a_hostile_archive_writes_only_in_the_image",),
    "56 addresses": (
        f"{RACES}::test_an_address_that_redirects_elsewhere_is_refused",
        f"{RACES}::test_a_name_that_a_server_gives_is_one_part",
        f"{HTTP}::test_a_name_that_resolves_to_a_link_local_address",
        f"{HTTP}::test_redirects_in_a_circle_end",
    ),
    "57 checksums": (
        f"{SECURITY}::test_a_checksum_that_is_wrong_or_unknown_is_refused",
        f"{RACES}::test_a_checksum_is_for_what_can_have_one",
    ),
    "58 repositories": (
        f"{RACES}::test_what_a_git_address_may_not_lead_to",
        f"{GIT}::test_submodules_over_a_protocol_that_is_not_allowed",
        f"{GIT}::test_hooks_and_filters_do_not_run",
    ),
    "59 bombs": (f"{STEPS}::test_an_archive_bomb_does_not_fill_memory_or_hang",),
    "60 names of stages": (f"{STEPS}::test_a_stage_wins_over_an_image_of_the_same_name",),
    "61 many hits": (f"{RACES}::test_a_pattern_with_very_many_hits_is_bounded",),
}

COMMANDS = {
    "62 working directories": (
        f"{SECURITY}::test_a_working_directory_leads_to_no_descriptor",
        f"{MOUNTS}::test_working_directory_outside_the_root_is_refused",
    ),
    "63 binds": (f"{SECURITY}::test_a_bind_whose_source_is_a_link_stays_in_its_stage",),
    "64 caches": (
        f"{SECURITY}::test_the_id_of_a_cache_is_no_path",
        f"{SECURITY}::test_a_cache_over_what_a_step_needs_is_refused_or_harmless",
        "rootless/test_dockerfile_mounts.py::test_who_shares_a_cache_and_when",
    ),
    "65 races on a cache": (
        f"{RACES}::test_two_steps_race_on_a_subdirectory_of_a_cache",
        f"{MOUNTS}::test_a_selector_that_is_swapped_all_the_time_stays_contained",
    ),
    "66 cleaning up": (
        f"{SECURITY}::test_cleaning_up_mount_points_follows_no_link_of_the_step",
        f"{MOUNTS}::test_a_mount_point_swapped_for_a_link_is_not_followed",
    ),
    "67 targets through links": (
        f"{SECURITY}::test_targets_through_links_stay_in_the_image",
        f"{MOUNTS}::test_a_secret_whose_target_is_a_link_out_stays_inside",
        f"{MOUNTS}::test_a_secret_has_its_owner_and_mode",
    ),
    "68 mount points of the image": (
        f"{SECURITY}::test_a_base_whose_own_mount_points_are_hostile",
    ),
    "69 attacks": (f"{STEPS}::test_a_step_can_hurt_only_itself",),
    "70 daemons": (f"{HOST}::test_a_step_that_leaves_a_daemon_with_its_output_ends",),
    "71 what a step sees": (
        f"{SECURITY}::test_a_step_sees_nothing_of_the_builder",
        f"{IDENTITY}::test_descriptors_are_the_standard_three",
    ),
    "72 account files": (f"{STEPS}::test_a_hostile_passwd_is_bounded",),
    "73 users": (f"{SECURITY}::test_users_are_validated",),
    "74 more rights": (f"{SECURITY}::test_more_rights_are_not_to_be_had",),
    "75 output that commands": (
        f"{SECURITY}::test_what_a_step_prints_is_no_command_to_a_terminal_or_to_github",
        f"{SHOWN}::test_names_warnings_notes_and_errors_of_others_command_nobody",
    ),
    "76 system calls": (f"{IDENTITY}::test_dangerous_system_calls_are_refused",),
    "77 devices of the image": (
        f"{SECURITY}::test_a_null_device_that_an_image_brings_is_not_the_one_of_steps",
        f"{MOUNTS}::test_an_image_with_something_else_for_a_kernel_directory_is_refused",
    ),
}

SECRETS = {
    "91 where none must be": (
        f"{SECURITY}::test_a_secret_is_nowhere_afterwards",
        f"{SECURITY}::test_a_secret_that_a_step_copies_would_be_found",
    ),
    "92 addresses with passwords": (
        f"{SECURITY}::test_the_password_of_a_git_address_is_not_shown",
    ),
    "93 arguments": (
        f"{STEPS}::test_an_argument_that_looks_like_a_secret_is_warned_of",
        f"{RACES}::test_the_value_of_an_argument_that_looks_like_a_secret_is_not_shown",
    ),
    "94 caches of others": (f"{RACES}::test_a_cache_that_is_only_read_is_not_written",),
}

OUTPUTS = {
    "97 links and devices": (
        f"{SECURITY}::test_an_output_follows_no_link_out_of_its_directory",
        f"{RACES}::test_an_output_makes_no_device_and_keeps_links_as_they_are",
    ),
    "98 places": (
        f"{SECURITY}::test_an_output_over_a_file_is_refused",
        f"{SECURITY}::test_an_output_that_may_not_be_written_is_an_error",
        f"{RACES}::test_an_archive_is_not_written_to_a_terminal",
    ),
    "99 tags": (f"{SECURITY}::test_bad_tags_are_refused_before_anything_runs",),
    "100 denied": (f"{SECURITY}::test_a_push_that_will_be_denied_is_refused_before_building",),
}

FAULTS = {
    "1 server errors": (
        f"{BUILDS}::test_a_fault_that_passes_does_not_fail_the_build",
        f"{MIDDLE}::test_no_1_and_12_a_mirror_with_faults_is_left_for_the_origin",
    ),
    "2 too many requests": (
        f"{BUILDS}::test_a_fault_that_passes_does_not_fail_the_build",
        f"{MIDDLE}::test_no_2_a_spent_allowance_is_no_matter_of_waiting",
    ),
    "3 and 4 tokens and signed addresses": (
        f"{MIDDLE}::test_no_3_and_4_a_token_and_a_signed_address_end_in_the_middle",
    ),
    "5 dead credentials": (f"{BUILDS}::test_no_5_a_dead_credential_fails_before_the_step_begins",),
    "6 and 7 ends and stalls": (
        f"{MIDDLE}::test_no_6_and_7_what_stalls_or_ends_is_resumed_where_it_stopped",
        f"{BUILDS}::test_a_fault_that_passes_does_not_fail_the_build",
    ),
    "8 names and silence": (
        f"{MIDDLE}::test_no_8_a_name_that_is_none_and_a_port_that_says_nothing",
        f"{SMALL}::test_a_dead_address_does_not_hold_up_a_living_one",
    ),
    "9 certificates": (f"{MIDDLE}::test_no_9_certificates_are_no_matter_of_waiting",),
    "10 and 11 no ranges": (
        f"{MIDDLE}::test_no_10_and_11_a_host_without_ranges_is_read_whole_once_and_that_is_said",
    ),
    "12 corrupt chunks": (
        f"{BUILDS}::test_a_fault_that_passes_does_not_fail_the_build",
        f"{MIDDLE}::test_no_1_and_12_a_mirror_with_faults_is_left_for_the_origin",
        f"{BUILDS}::test_no_12_what_stays_corrupt_fails_the_build_and_names_the_chunk",
    ),
    "13 corrupt cache": (f"{BUILDS}::test_no_13_a_corrupt_chunk_of_the_store_is_fetched_again",),
    "14 away": (
        f"{MIDDLE}::test_no_14_a_registry_that_comes_back_is_waited_for_and_that_is_said",
        f"{MIDDLE}::test_no_14_a_registry_that_stays_away_is_an_infrastructure_failure",
    ),
    "15 deleted or moved": (
        f"{MIDDLE}::test_no_15_and_78_a_tag_that_moves_changes_no_build_and_what_is_deleted_is_told_so",
    ),
    "16 pushes": (f"{BUILDS}::test_no_16_a_push_goes_on_after_a_fault",),
    "17 refused mounts": (f"{BUILDS}::test_no_17_a_blob_that_can_not_be_mounted_is_copied",),
    "18 one tag, two pushes": (
        f"{MIDDLE}::test_no_18_of_two_pushes_of_one_tag_the_last_wins_and_each_knows_its_own",
    ),
    "19 caches": (
        f"{MIDDLE}::test_no_19_a_cache_that_is_corrupt_is_a_warning",
        "rootless/test_cache.py::test_a_cache_that_fails_is_a_warning_unless_it_must_not",
    ),
    "20 full": (
        f"{DISK}::test_a_step_that_uses_up_the_inodes_ends_with_102",
        f"{DISK}::test_a_pull_that_fills_the_disk_ends_with_102_and_leaves_no_part_of_it",
        f"{DISK}::test_a_base_that_fills_the_disk_ends_with_102",
        f"{DISK}::test_a_full_disk_can_be_pruned",
        "rootless/test_soak.py::test_a_step_that_fills_the_disk_ends_with_102_and_leaves_a_store",
    ),
    "21 read-only, unreadable": (
        f"{DISK}::test_a_store_that_turned_read_only_is_said_at_once",
        "peers/test_disk_errors.py::test_a_read_error_is_said_and_puts_the_store_in_doubt",
        f"{DOUBT}::test_blobs_in_doubt_are_checked_when_they_are_used",
    ),
    "22 signals": (
        f"{HOST}::test_signals_are_obeyed_though_the_step_is_deaf",
        f"{SIGNALS}::test_a_pull_that_stands_still_is_given_up",
        f"{SIGNALS}::test_a_push_that_stands_still_is_given_up",
        f"{SIGNALS}::test_a_layer_that_is_being_written_is_given_up",
        f"{SIGNALS}::test_a_second_signal_ends_it_at_once",
        f"{SIGNALS}::test_what_was_finished_is_kept",
    ),
    "23 kills": (
        f"{SIGNALS}::test_a_builder_may_be_killed_at_every_step_of_a_commit",
        f"{SIGNALS}::test_a_pull_may_be_killed_at_every_step",
        f"{COLLECTOR}::test_a_kill_anywhere_leaves_a_store_that_opens_and_a_prune_that_cleans",
        f"{LIFE}::test_a_builder_that_is_killed_takes_the_step_along",
    ),
    "26 killed steps": (f"{HOST}::test_a_killed_step_is_said_to_be_out_of_memory_perhaps",),
    "28 processes and files": (
        f"{LIMITS}::test_without_processes_a_build_fails_and_says_so",
        f"{LIMITS}::test_without_open_files_a_build_fails_and_says_so",
        f"{LIMITS}::test_without_memory_a_build_fails_and_says_so",
    ),
    "29 crowds": (
        f"{HOST}::test_twenty_builds_at_once_share_one_store",
        "unit/build/test_build_outside.py::test_a_build_on_a_shared_file_system_says_so_once",
    ),
    "30 a collector meanwhile": (
        f"{SIGNALS}::test_a_collector_takes_nothing_from_a_running_build",
        f"{COLLECTOR}::test_a_lease_keeps_what_was_made_or_looked_up_since",
    ),
    "31 power": (
        f"{DOUBT}::test_after_a_power_loss_unsynced_directories_go",
        f"{DOUBT}::test_a_restart_without_a_build_takes_nothing",
    ),
    "32 clocks": (f"{AUTH}::test_a_token_near_its_end_is_replaced_before_it_fails",),
    "33 versions": (
        f"{HOST}::test_a_store_of_a_newer_version_is_refused_and_not_touched",
        "rootless/test_housekeeping.py::test_a_store_of_the_first_schema_is_taken_over",
        f"{STORE}::test_another_version_is_refused",
        f"{META}::test_a_newer_database_is_refused",
    ),
    "34 slow disks": (
        "unit/build/test_build_outside.py::test_a_slow_place_is_told_with_its_measure",
    ),
    "35 silence": (
        f"{SHOWN}::test_a_silent_step_is_told_to_be_running_still",
        f"{LIMITS}::test_a_build_ends_when_its_time_is_over",
    ),
    "36 nobody listens": (f"{HOST}::test_a_build_goes_on_without_anyone_who_listens",),
    "37 helpers": (
        f"{HOST}::test_a_helper_that_fails_is_named_with_a_remedy",
        "unit/executor/test_ladder.py::test_a_mapper_that_hangs_is_given_up",
    ),
    "38 networks that change": (
        f"{MIDDLE}::test_no_14_a_registry_that_comes_back_is_waited_for_and_that_is_said",
        f"{BUILDS}::test_a_fault_that_passes_does_not_fail_the_build",
    ),
    "24 the lazy file system is killed": (
        f"{DAEMON}::test_a_step_whose_file_system_is_killed_runs_again_from_a_clean_directory",
        f"{DAEMON}::test_the_second_death_is_an_infrastructure_failure_and_nothing_is_cached",
    ),
    "25 it hangs": (f"{DAEMON}::test_a_daemon_that_hangs_is_ended",),
    "27 memory": (f"{MIDDLE}::test_no_27_memory_does_not_grow_with_the_layer",),
    "39 the cache is removed": (
        f"{BUILDS}::test_no_39_a_chunk_cache_that_is_removed_is_made_anew",
    ),
    "40 credential helpers": (f"{MIDDLE}::test_no_40_a_credential_helper_that_fails_is_named",),
}

OF_BUILDS = {**CONTEXTS, **COMMANDS, **SECRETS, **OUTPUTS}
ALL = {**LAYERS, **TABLES, **REGISTRIES, **OF_BUILDS, **FAULTS}
NAMED = sorted({test for tests in ALL.values() for test in tests})


@cache
def functions_in(path):
    tree = ast.parse((TESTS / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_a_table_names_exists(name):
    path, _, test = name.partition("::")
    assert test in functions_in(path)


def numbers(table):
    return {int(word) for case in table for word in case.split() if word.isdigit()}


def test_no_case_is_left_out():
    assert numbers(LAYERS) == set(range(1, 33))
    assert numbers(TABLES) == set(range(33, 48))
    assert numbers(REGISTRIES) == set(range(78, 91))
    assert numbers(CONTEXTS) == set(range(48, 62))
    assert numbers(COMMANDS) == set(range(62, 78))
    assert numbers(SECRETS) == set(range(91, 95))
    assert numbers(OUTPUTS) == set(range(97, 101))
    assert numbers(FAULTS) == set(range(1, 41))
