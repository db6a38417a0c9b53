import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type SqliteDatabase,
  SqliteDialect,
  SqliteDriver,
  type SqliteStatement,
} from "kysely";
import type { Database as LibsqlDatabase } from "libsql";

/** Kysely over an open libsql database, whose transactions take the write lock when they begin. */
export class LibsqlDialect extends SqliteDialect {
  readonly #database: LibsqlDatabase;

  constructor(database: LibsqlDatabase) {
    super({ database });
    this.#database = database;
  }

  override createDriver(): Driver {
    return new LibsqlDriver(this.#database, preparedOnce(this.#database));
  }
}

class LibsqlDriver extends SqliteDriver {
  readonly #database: LibsqlDatabase;

  constructor(database: LibsqlDatabase, prepared: SqliteDatabase) {
    super({ database: prepared });
    this.#database = database;
  }

  /**
   * A transaction that reads first and writes later cannot wait for another process's lock: what it read would be out of
   * date, so SQLite refuses it at once, whatever the busy timeout.
   */
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("begin immediate"));
  }

  /** SQLite has rolled back by itself when the disk is full or fails; a second rollback would hide why. */
  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#database.inTransaction) await super.rollbackTransaction(connection);
  }
}

/** The statements of the stores are some dozens, always the same: each is compiled once. A list of any length makes others. */
const MAX_STATEMENTS = 500;

function preparedOnce(database: LibsqlDatabase): SqliteDatabase {
  const statements = new Map<string, SqliteStatement>();
  return {
    close: () => database.close(),
    prepare: (sql) => {
      const known = statements.get(sql);
      if (known !== undefined) return known;
      if (statements.size >= MAX_STATEMENTS) statements.clear();
      const made = database.prepare(sql);
      statements.set(sql, made);
      return made;
    },
  };
}
