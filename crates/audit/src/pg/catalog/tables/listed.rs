//! The names and columns of the small tables: `name:type`, with `i` for integers, `b` for flags, `f`
//! for floats, `l` for lists of texts, and nothing for texts.

use super::super::{STANDARD, SYSTEM};

type Listed = (&'static str, &'static str, &'static str);

/// Tables with rows.
pub(super) const FILLED: &[Listed] = &[
    (SYSTEM, "pg_namespace", "oid:i nspname nspowner:i nspacl:l"),
    (
        SYSTEM,
        "pg_class",
        "oid:i relname relnamespace:i reltype:i reloftype:i relowner:i relam:i relfilenode:i \
         reltablespace:i relpages:i reltuples:f relallvisible:i reltoastrelid:i relhasindex:b \
         relisshared:b relpersistence relkind relnatts:i relchecks:i relhasrules:b \
         relhastriggers:b relhassubclass:b relrowsecurity:b relforcerowsecurity:b relispopulated:b \
         relreplident relispartition:b relrewrite:i relfrozenxid:i relminmxid:i relacl:l \
         reloptions:l relpartbound relhasoids:b",
    ),
    (
        SYSTEM,
        "pg_attribute",
        "attrelid:i attname atttypid:i attstattarget:i attlen:i attnum:i attndims:i attcacheoff:i \
         atttypmod:i attbyval:b attalign attstorage attcompression attnotnull:b atthasdef:b \
         atthasmissing:b attidentity attgenerated attisdropped:b attislocal:b attinhcount:i \
         attcollation:i attacl:l attoptions:l attfdwoptions:l attmissingval",
    ),
    (
        SYSTEM,
        "pg_type",
        "oid:i typname typnamespace:i typowner:i typlen:i typbyval:b typtype typcategory \
         typispreferred:b typisdefined:b typdelim typrelid:i typelem:i typarray:i typinput \
         typoutput typreceive typsend typmodin typmodout typanalyze typalign typstorage typnotnull:b \
         typbasetype:i typtypmod:i typndims:i typcollation:i typdefaultbin typdefault typacl:l \
         typsubscript",
    ),
    (
        SYSTEM,
        "pg_database",
        "oid:i datname datdba:i encoding:i datlocprovider datistemplate:b datallowconn:b \
         datconnlimit:i datlastsysoid:i datfrozenxid:i datminmxid:i dattablespace:i datcollate \
         datctype daticulocale daticurules datlocale datcollversion datacl:l",
    ),
    (
        SYSTEM,
        "pg_roles",
        "oid:i rolname rolsuper:b rolinherit:b rolcreaterole:b rolcreatedb:b rolcanlogin:b \
         rolreplication:b rolconnlimit:i rolpassword rolvaliduntil rolbypassrls:b rolconfig:l",
    ),
    (
        SYSTEM,
        "pg_user",
        "usename usesysid:i usecreatedb:b usesuper:b userepl:b usebypassrls:b passwd valuntil \
         useconfig:l",
    ),
    (SYSTEM, "pg_am", "oid:i amname amhandler amtype"),
    (SYSTEM, "pg_tablespace", "oid:i spcname spcowner:i spcacl:l spcoptions:l"),
    (
        SYSTEM,
        "pg_settings",
        "name setting unit category short_desc extra_desc context vartype source min_val max_val \
         enumvals:l boot_val reset_val sourcefile sourceline:i pending_restart:b",
    ),
    (
        SYSTEM,
        "pg_tables",
        "schemaname tablename tableowner tablespace hasindexes:b hasrules:b hastriggers:b \
         rowsecurity:b",
    ),
    (
        STANDARD,
        "schemata",
        "catalog_name schema_name schema_owner default_character_set_catalog \
         default_character_set_schema default_character_set_name sql_path",
    ),
    (
        STANDARD,
        "tables",
        "table_catalog table_schema table_name table_type self_referencing_column_name \
         reference_generation user_defined_type_catalog user_defined_type_schema \
         user_defined_type_name is_insertable_into is_typed commit_action",
    ),
    (
        STANDARD,
        "columns",
        "table_catalog table_schema table_name column_name ordinal_position:i column_default \
         is_nullable data_type character_maximum_length:i character_octet_length:i \
         numeric_precision:i numeric_precision_radix:i numeric_scale:i datetime_precision:i \
         interval_type character_set_name collation_catalog collation_schema collation_name \
         domain_catalog domain_schema domain_name udt_catalog udt_schema udt_name is_identity \
         identity_generation identity_start identity_increment is_generated generation_expression \
         is_updatable",
    ),
];

/// Tables that never have a row here. Their columns matter only where one is joined from outside.
pub(super) const EMPTY: &[Listed] = &[
    (SYSTEM, "pg_attrdef", "oid:i adrelid:i adnum:i adbin"),
    (SYSTEM, "pg_description", "objoid:i classoid:i objsubid:i description"),
    (SYSTEM, "pg_shdescription", "objoid:i classoid:i description"),
    (
        SYSTEM,
        "pg_constraint",
        "oid:i conname connamespace:i contype condeferrable:b condeferred:b convalidated:b \
         conrelid:i contypid:i conindid:i conparentid:i confrelid:i confupdtype confdeltype \
         confmatchtype conislocal:b coninhcount:i connoinherit:b conkey:l confkey:l conbin",
    ),
    (
        SYSTEM,
        "pg_index",
        "indexrelid:i indrelid:i indnatts:i indnkeyatts:i indisunique:b indnullsnotdistinct:b \
         indisprimary:b indisexclusion:b indimmediate:b indisclustered:b indisvalid:b \
         indcheckxmin:b indisready:b indislive:b indisreplident:b indkey:l indcollation:l \
         indclass:l indoption:l indexprs indpred",
    ),
    (SYSTEM, "pg_indexes", "schemaname tablename indexname tablespace indexdef"),
    (SYSTEM, "pg_inherits", "inhrelid:i inhparent:i inhseqno:i inhdetachpending:b"),
    (
        SYSTEM,
        "pg_policy",
        "oid:i polname polrelid:i polcmd polpermissive:b polroles:l polqual polwithcheck",
    ),
    (SYSTEM, "pg_policies", "schemaname tablename policyname permissive roles:l cmd qual"),
    (
        SYSTEM,
        "pg_statistic_ext",
        "oid:i stxrelid:i stxname stxnamespace:i stxowner:i stxstattarget:i stxkeys:l stxkind:l",
    ),
    (SYSTEM, "pg_publication", "oid:i pubname pubowner:i puballtables:b"),
    (SYSTEM, "pg_publication_rel", "oid:i prpubid:i prrelid:i prqual prattrs:l"),
    (SYSTEM, "pg_publication_namespace", "oid:i pnpubid:i pnnspid:i"),
    (SYSTEM, "pg_subscription", "oid:i subdbid:i subname subowner:i subenabled:b"),
    (
        SYSTEM,
        "pg_collation",
        "oid:i collname collnamespace:i collowner:i collprovider collisdeterministic:b \
         collencoding:i collcollate collctype colliculocale collversion",
    ),
    (
        SYSTEM,
        "pg_opclass",
        "oid:i opcmethod:i opcname opcnamespace:i opcowner:i opcfamily:i opcintype:i opcdefault:b \
         opckeytype:i",
    ),
    (
        SYSTEM,
        "pg_sequence",
        "seqrelid:i seqtypid:i seqstart:i seqincrement:i seqmax:i seqmin:i seqcache:i seqcycle:b",
    ),
    (SYSTEM, "pg_sequences", "schemaname sequencename sequenceowner data_type"),
    (SYSTEM, "pg_views", "schemaname viewname viewowner definition"),
    (SYSTEM, "pg_matviews", "schemaname matviewname matviewowner tablespace definition"),
    (
        SYSTEM,
        "pg_proc",
        "oid:i proname pronamespace:i proowner:i prolang:i procost:f prorows:f provariadic:i \
         prokind prosecdef:b proleakproof:b proisstrict:b proretset:b provolatile proparallel \
         pronargs:i pronargdefaults:i prorettype:i proargtypes:l proallargtypes:l proargmodes:l \
         proargnames:l prosrc probin proconfig:l proacl:l",
    ),
    (
        SYSTEM,
        "pg_trigger",
        "oid:i tgrelid:i tgparentid:i tgname tgfoid:i tgtype:i tgenabled tgisinternal:b \
         tgconstraint:i",
    ),
    (SYSTEM, "pg_event_trigger", "oid:i evtname evtevent evtowner:i evtfoid:i evtenabled"),
    (SYSTEM, "pg_rewrite", "oid:i rulename ev_class:i ev_type ev_enabled is_instead:b"),
    (SYSTEM, "pg_rules", "schemaname tablename rulename definition"),
    (
        SYSTEM,
        "pg_depend",
        "classid:i objid:i objsubid:i refclassid:i refobjid:i refobjsubid:i deptype",
    ),
    (SYSTEM, "pg_shdepend", "dbid:i classid:i objid:i objsubid:i refclassid:i refobjid:i"),
    (SYSTEM, "pg_enum", "oid:i enumtypid:i enumsortorder:f enumlabel"),
    (SYSTEM, "pg_range", "rngtypid:i rngsubtype:i rngmultitypid:i rngcollation:i rngsubopc:i"),
    (SYSTEM, "pg_foreign_table", "ftrelid:i ftserver:i ftoptions:l"),
    (SYSTEM, "pg_foreign_server", "oid:i srvname srvowner:i srvfdw:i srvtype srvversion"),
    (SYSTEM, "pg_foreign_data_wrapper", "oid:i fdwname fdwowner:i"),
    (SYSTEM, "pg_user_mappings", "umid:i srvid:i srvname umuser:i usename"),
    (SYSTEM, "pg_extension", "oid:i extname extowner:i extnamespace:i extversion"),
    (SYSTEM, "pg_available_extensions", "name default_version installed_version comment"),
    (SYSTEM, "pg_language", "oid:i lanname lanowner:i lanispl:b lanpltrusted:b"),
    (SYSTEM, "pg_ts_config", "oid:i cfgname cfgnamespace:i cfgowner:i cfgparser:i"),
    (SYSTEM, "pg_ts_dict", "oid:i dictname dictnamespace:i dictowner:i dicttemplate:i"),
    (SYSTEM, "pg_ts_parser", "oid:i prsname prsnamespace:i"),
    (SYSTEM, "pg_ts_template", "oid:i tmplname tmplnamespace:i"),
    (SYSTEM, "pg_cast", "oid:i castsource:i casttarget:i castfunc:i castcontext castmethod"),
    (SYSTEM, "pg_operator", "oid:i oprname oprnamespace:i oprleft:i oprright:i oprresult:i"),
    (SYSTEM, "pg_aggregate", "aggfnoid:i aggkind aggnumdirectargs:i"),
    (SYSTEM, "pg_conversion", "oid:i conname connamespace:i"),
    (SYSTEM, "pg_auth_members", "roleid:i member:i grantor:i admin_option:b"),
    (SYSTEM, "pg_group", "groname grosysid:i"),
    (SYSTEM, "pg_db_role_setting", "setdatabase:i setrole:i setconfig:l"),
    (SYSTEM, "pg_default_acl", "oid:i defaclrole:i defaclnamespace:i defaclobjtype defaclacl:l"),
    (SYSTEM, "pg_partitioned_table", "partrelid:i partstrat partnatts:i partdefid:i"),
    (SYSTEM, "pg_stat_activity", "datid:i datname pid:i usename application_name state query"),
    (SYSTEM, "pg_stat_user_tables", "relid:i schemaname relname seq_scan:i n_live_tup:i"),
    (SYSTEM, "pg_stat_all_tables", "relid:i schemaname relname seq_scan:i n_live_tup:i"),
    (SYSTEM, "pg_locks", "locktype database:i relation:i pid:i mode granted:b"),
    (SYSTEM, "pg_prepared_xacts", "transaction:i gid owner database"),
    (SYSTEM, "pg_seclabel", "objoid:i classoid:i objsubid:i provider label"),
    (SYSTEM, "pg_timezone_names", "name abbrev is_dst:b"),
    (SYSTEM, "pg_cursors", "name statement is_holdable:b"),
    (SYSTEM, "pg_prepared_statements", "name statement from_sql:b"),
    (STANDARD, "views", "table_catalog table_schema table_name view_definition"),
    (
        STANDARD,
        "table_constraints",
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema \
         table_name constraint_type is_deferrable initially_deferred",
    ),
    (
        STANDARD,
        "key_column_usage",
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema \
         table_name column_name ordinal_position:i position_in_unique_constraint:i",
    ),
    (
        STANDARD,
        "referential_constraints",
        "constraint_catalog constraint_schema constraint_name unique_constraint_catalog \
         unique_constraint_schema unique_constraint_name match_option update_rule delete_rule",
    ),
    (
        STANDARD,
        "constraint_column_usage",
        "table_catalog table_schema table_name column_name constraint_catalog constraint_schema \
         constraint_name",
    ),
    (STANDARD, "check_constraints", "constraint_schema constraint_name check_clause"),
    (STANDARD, "routines", "routine_catalog routine_schema routine_name routine_type data_type"),
    (STANDARD, "parameters", "specific_schema specific_name ordinal_position:i parameter_name"),
    (STANDARD, "sequences", "sequence_catalog sequence_schema sequence_name data_type"),
    (STANDARD, "triggers", "trigger_schema trigger_name event_object_table"),
    (STANDARD, "domains", "domain_catalog domain_schema domain_name data_type"),
    (STANDARD, "table_privileges", "grantor grantee table_schema table_name privilege_type"),
    (STANDARD, "column_privileges", "grantor grantee table_schema table_name column_name"),
    (STANDARD, "role_table_grants", "grantor grantee table_schema table_name privilege_type"),
];
