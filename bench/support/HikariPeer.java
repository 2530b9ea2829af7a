// HikariPeer.java - HikariCP over a data source that does nothing, for contender_hikari.c. Reads a
// number of cycles a line, runs them, answers with the CPU nanoseconds of one. Ends with its input.

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.sql.*;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Executor;
import java.util.logging.Logger;
import javax.sql.DataSource;

public final class HikariPeer {
  private static final int WARM_UP_ROUNDS = 20;
  private static final int WARM_UP_CYCLES = 100_000;

  public static void main(String[] args) throws Exception {
    HikariConfig config = new HikariConfig();
    config.setDataSource(new StubDataSource());
    config.setMinimumIdle(Integer.parseInt(args[0]));
    config.setMaximumPoolSize(Integer.parseInt(args[0]));
    try (HikariDataSource pool = new HikariDataSource(config)) {
      for (int i = 0; i < WARM_UP_ROUNDS; i++) {
        run(pool, WARM_UP_CYCLES);
      }
      BufferedReader questions = new BufferedReader(new InputStreamReader(System.in));
      for (String line = questions.readLine(); line != null; line = questions.readLine()) {
        System.out.println(run(pool, Long.parseLong(line)));
        System.out.flush();
      }
    }
  }

  private static double run(DataSource pool, long count) throws SQLException {
    ThreadMXBean threads = ManagementFactory.getThreadMXBean();
    long start = threads.getCurrentThreadCpuTime();
    for (long i = 0; i < count; i++) {
      pool.getConnection().close();
    }
    return (double) (threads.getCurrentThreadCpuTime() - start) / count;
  }

  private static final class StubDataSource implements DataSource {
    public Connection getConnection() { return new StubConnection(); }
    public Connection getConnection(String user, String password) { return new StubConnection(); }
    public PrintWriter getLogWriter() { return null; }
    public void setLogWriter(PrintWriter writer) { }
    public void setLoginTimeout(int seconds) { }
    public int getLoginTimeout() { return 0; }
    public Logger getParentLogger() { return null; }
    public <T> T unwrap(Class<T> type) { return null; }
    public boolean isWrapperFor(Class<?> type) { return false; }
  }

  // Plain methods, no dynamic proxy: a reflective call in each cycle would be unfair.
  private static final class StubConnection implements Connection {
    private boolean autoCommit = true;
    private boolean closed;

    public void setAutoCommit(boolean on) { autoCommit = on; }
    public boolean getAutoCommit() { return autoCommit; }
    public void close() { closed = true; }
    public boolean isClosed() { return closed; }
    public boolean isValid(int seconds) { return !closed; }
    public void commit() { }
    public void rollback() { }
    public void clearWarnings() { }
    public SQLWarning getWarnings() { return null; }
    public void setReadOnly(boolean on) { }
    public boolean isReadOnly() { return false; }
    public void setCatalog(String name) { }
    public String getCatalog() { return null; }
    public void setSchema(String name) { }
    public String getSchema() { return null; }
    public void setTransactionIsolation(int level) { }
    public int getTransactionIsolation() { return TRANSACTION_READ_COMMITTED; }
    public void setNetworkTimeout(Executor executor, int milliseconds) { }
    public int getNetworkTimeout() { return 0; }
    public void abort(Executor executor) { closed = true; }
    public void setHoldability(int holdability) { }
    public int getHoldability() { return ResultSet.CLOSE_CURSORS_AT_COMMIT; }
    public Statement createStatement() { return null; }
    public Statement createStatement(int type, int concurrency) { return null; }
    public Statement createStatement(int type, int concurrency, int hold) { return null; }
    public PreparedStatement prepareStatement(String sql) { return null; }
    public PreparedStatement prepareStatement(String sql, int type, int mode) { return null; }
    public PreparedStatement prepareStatement(String sql, int type, int mode, int hold) { return null; }
    public PreparedStatement prepareStatement(String sql, int keys) { return null; }
    public PreparedStatement prepareStatement(String sql, int[] columns) { return null; }
    public PreparedStatement prepareStatement(String sql, String[] columns) { return null; }
    public CallableStatement prepareCall(String sql) { return null; }
    public CallableStatement prepareCall(String sql, int type, int mode) { return null; }
    public CallableStatement prepareCall(String sql, int type, int mode, int hold) { return null; }
    public String nativeSQL(String sql) { return sql; }
    public DatabaseMetaData getMetaData() { return null; }
    public Map<String, Class<?>> getTypeMap() { return null; }
    public void setTypeMap(Map<String, Class<?>> map) { }
    public Savepoint setSavepoint() { return null; }
    public Savepoint setSavepoint(String name) { return null; }
    public void rollback(Savepoint savepoint) { }
    public void releaseSavepoint(Savepoint savepoint) { }
    public Clob createClob() { return null; }
    public Blob createBlob() { return null; }
    public NClob createNClob() { return null; }
    public SQLXML createSQLXML() { return null; }
    public Array createArrayOf(String type, Object[] elements) { return null; }
    public Struct createStruct(String type, Object[] attributes) { return null; }
    public void setClientInfo(String name, String value) { }
    public void setClientInfo(Properties properties) { }
    public String getClientInfo(String name) { return null; }
    public Properties getClientInfo() { return null; }
    public <T> T unwrap(Class<T> type) { return null; }
    public boolean isWrapperFor(Class<?> type) { return false; }
  }
}
