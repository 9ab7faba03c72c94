/** A menu at a place of the window, used with arrows, Home, End, letters, Enter and Escape. */

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

const TYPE_AHEAD_MS = 700;

export interface Place {
  x: number;
  y: number;
}

/** Below an element, at its left edge. */
export function below(element: Element): Place {
  const box = element.getBoundingClientRect();
  return { x: box.left, y: box.bottom + 4 };
}

export function Menu({
  at,
  label,
  close,
  children,
}: {
  at: Place;
  label: string;
  close: () => void;
  children: ComponentChildren;
}) {
  const menu = useRef<HTMLDivElement>(null);
  const typed = useRef({ text: "", at: 0 });

  useLayoutEffect(() => {
    const element = menu.current;
    if (!element) return;
    const box = element.getBoundingClientRect();
    element.style.left = `${Math.max(8, Math.min(at.x, innerWidth - box.width - 8))}px`;
    element.style.top = `${Math.max(8, Math.min(at.y, innerHeight - box.height - 8))}px`;
  }, [at.x, at.y]);

  // At once: the next key is for the menu.
  useLayoutEffect(() => {
    const before = document.activeElement;
    const items = [...(menu.current?.querySelectorAll<HTMLElement>('[role^="menuitem"]') ?? [])];
    // Itself where there is nothing to choose, so that Escape reaches it.
    (items.find((item) => item.getAttribute("aria-checked") === "true") ?? items[0] ?? menu.current)?.focus();
    const outside = (event: Event) => {
      if (!menu.current?.contains(event.target as Element)) close();
    };
    addEventListener("pointerdown", outside, true);
    addEventListener("blur", close);
    return () => {
      removeEventListener("pointerdown", outside, true);
      removeEventListener("blur", close);
      if (menu.current?.contains(document.activeElement) || document.activeElement === document.body)
        if (before instanceof HTMLElement) before.focus();
    };
  }, []);

  const key = (event: KeyboardEvent) => {
    const items = [...(menu.current?.querySelectorAll<HTMLElement>('[role^="menuitem"]') ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const letter = event.key.length === 1 && !event.ctrlKey && !event.metaKey ? event.key.toLowerCase() : "";
    const text = (event.timeStamp - typed.current.at < TYPE_AHEAD_MS ? typed.current.text : "") + letter;
    let next: HTMLElement | undefined;
    if (event.key === "ArrowDown") next = items[(at + 1) % items.length];
    else if (event.key === "ArrowUp") next = items[(at - 1 + items.length) % items.length];
    else if (event.key === "Home") next = items[0];
    else if (event.key === "End") next = items.at(-1);
    else if (event.key === "Escape" || event.key === "Tab") close();
    else if (letter && text.trim()) {
      typed.current = { text, at: event.timeStamp };
      next = [...items.slice(text.length > 1 ? at : at + 1), ...items].find((item) =>
        item.textContent?.trim().toLowerCase().startsWith(text),
      );
    } else return;
    event.preventDefault();
    event.stopPropagation();
    next?.focus();
  };

  return (
    <div
      class="menu"
      role="menu"
      aria-label={label}
      ref={menu}
      tabIndex={-1}
      onKeyDown={key}
      onContextMenu={(event) => event.preventDefault()}
    >
      {children}
    </div>
  );
}

interface ItemProps {
  children: ComponentChildren;
  act: () => void;
  keys?: string;
  danger?: boolean;
  /** One of several that exclude each other. */
  checked?: boolean;
}

export function MenuItem({ children, act, keys, danger, checked }: ItemProps) {
  return (
    <button
      type="button"
      class={danger ? "menu-item danger" : "menu-item"}
      role={checked === undefined ? "menuitem" : "menuitemradio"}
      aria-checked={checked}
      tabIndex={-1}
      onClick={act}
    >
      {children}
      {keys && <span class="keys">{keys}</span>}
    </button>
  );
}
