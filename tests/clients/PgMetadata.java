import java.sql.*;
import java.time.Instant;
import java.util.*;

/** Reads a ledger's tables over the PostgreSQL wire with pgjdbc: java PgMetadata.java HOST PORT USER KEY. */
public class PgMetadata {
    static void check(boolean holds, Object what) {
        if (!holds) throw new AssertionError(String.valueOf(what));
    }

    static List<String> names(ResultSet rows, String column) throws SQLException {
        List<String> names = new ArrayList<>();
        while (rows.next()) names.add(rows.getString(column));
        return names;
    }

    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://" + args[0] + ":" + args[1] + "/bailiwick";
        try (Connection connection = DriverManager.getConnection(url, args[2], args[3])) {
            metadata(connection.getMetaData());
            prepared(connection);
            piecewise(connection);
            cancelled(connection);
        }
        System.out.println("all is well");
    }

    static void metadata(DatabaseMetaData about) throws SQLException {
        List<String> tables =
            names(about.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME");
        check(tables.containsAll(List.of("events", "grants", "calls")), tables);
        ResultSet columns = about.getColumns(null, "public", "events", "%");
        Map<String, Integer> types = new HashMap<>();
        while (columns.next()) types.put(columns.getString("COLUMN_NAME"), columns.getInt("DATA_TYPE"));
        check(types.get("seq") == Types.BIGINT && types.get("ts") == Types.TIMESTAMP, types);
        check(types.get("link") == Types.BINARY && types.get("kind") == Types.VARCHAR, types);
        check(names(about.getSchemas(), "TABLE_SCHEM").contains("public"), "no schema");
        check(names(about.getPrimaryKeys(null, "public", "events"), "PK_NAME").isEmpty(), "a key");
        check(names(about.getImportedKeys(null, "public", "events"), "FK_NAME").isEmpty(), "a key");
        check(names(about.getIndexInfo(null, "public", "events", false, false), "INDEX_NAME").isEmpty(), "an index");
        check(names(about.getTypeInfo(), "TYPE_NAME").contains("timestamptz"), "no type");
    }

    /** Often enough that the driver prepares it by name and asks for binary. */
    static void prepared(Connection connection) throws SQLException {
        String sql = "select seq, ts, kind, depth from events where ts >= ? and seq >= ? order by seq";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (long seq = 0; seq < 10; seq++) {
                statement.setTimestamp(1, Timestamp.from(Instant.EPOCH));
                statement.setLong(2, seq);
                ResultSet rows = statement.executeQuery();
                check(rows.next() && rows.getLong("seq") == seq, seq);
                check(rows.getTimestamp("ts").toInstant().isAfter(Instant.EPOCH), "ts");
                rows.getShort("depth");
                check(rows.wasNull() || seq > 2, "depth");
            }
        }
    }

    /** Through a portal that is left and taken up again. */
    static void piecewise(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(3);
            ResultSet rows = statement.executeQuery("select seq from events order by seq");
            long seq = 0;
            while (rows.next()) check(rows.getLong(1) == seq++, seq);
            check(seq > 12, seq);
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void cancelled(Connection connection) throws SQLException {
        String sql = "select count(*) from events a, events b, events c, events d, events e"
            + " where a.seq + b.seq + c.seq + d.seq + e.seq < 0";
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            try {
                statement.executeQuery(sql);
                check(false, "it was answered");
            } catch (SQLException e) {
                check(e.getSQLState().equals("57014"), e);
            }
        }
    }
}
