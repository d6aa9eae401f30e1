// Who is asking. The token lives as long as the tab does, and never in the address bar.

import { type Accessor, createContext, createMemo, createSignal, useContext } from "solid-js";
import { Client } from "../api/client";
import { takeToken } from "../model/address";

const key = "ringtail.token";

export interface Session {
  /** `null` while there is no token that the node has not refused. */
  client: Accessor<Client | null>;
  wasRefused: Accessor<boolean>;
  signIn: (token: string) => void;
  signOut: () => void;
}

export function createSession(): Session {
  const handed = takeToken(new URL(location.href));
  if (handed) {
    write(handed.token);
    history.replaceState(null, "", handed.rest);
  }
  const [token, setToken] = createSignal(read());
  const [wasRefused, setRefused] = createSignal(false);

  const forget = (isRefused: boolean): void => {
    write(null);
    setRefused(isRefused);
    setToken(null);
  };
  const client = createMemo(() => {
    const present = token();
    // An old request that fails late must not throw away a newer token.
    return present ? new Client(present, () => token() === present && forget(true)) : null;
  });
  return {
    client,
    wasRefused,
    signIn: (given) => {
      write(given);
      setRefused(false);
      setToken(given);
    },
    signOut: () => forget(false),
  };
}

function read(): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    // Storage is forbidden: the token has to be given at each load.
    return null;
  }
}

function write(token: string | null): void {
  try {
    if (token) sessionStorage.setItem(key, token);
    else sessionStorage.removeItem(key);
  } catch {
    // As above: this page still works, the next load asks again.
  }
}

const ClientContext = createContext<Client>();
export const ClientProvider = ClientContext.Provider;

export function useClient(): Client {
  const client = useContext(ClientContext);
  if (!client) throw new Error("used outside of ClientProvider");
  return client;
}
