// Package inside is what process 1 of a small virtual machine (package vm) needs: a boot, block
// devices, an end. It is for Linux.
package inside
